//! Messages between the two ends of a path, sent within it.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use super::answer::{hops_with_total, no_answer, no_path};
use super::{Daemon, Pinged, Waiting};
use crate::desired::PendingPath;
use crate::engine::PathNumber;
use crate::exchange;
use crate::introduction::{
    EndRole, Inner, IntroductionContext, PORT, is_accepted, is_outdated, verify_introduction,
};
use crate::private_source;
use crate::routes::PeerReport;
use crate::status::SetupPhase;
use crate::verbs::TIMEOUT;
use octet_node::address::NodeAddress;
use octet_node::say;

impl Daemon {
    /// Handles a datagram that was received on a path.
    pub(super) async fn handle_path_message(&mut self, from: SocketAddr, bytes: &[u8]) {
        // Other senders on the path's device use other ports; PID 1 alone hands out this one.
        let SocketAddr::V6(from) = from else { return };
        if from.port() != PORT {
            return;
        }
        let Some(number) = self.path_ends.of(from) else { return };
        let message = Inner::from_bytes(bytes);
        if self.engine.is_private(number) && !message.as_ref().is_some_and(Inner::is_for_private) {
            return;
        }
        match message {
            Some(Inner::Introduction { certificate, signature, knows_receiver }) => {
                let Some(path_end) = self.engine.path_end(number) else { return };
                let own = self.engine.shown_as(number, self.identity.as_ref());
                let Some(own) = own.map(private_source::address) else { return };
                let node = NodeAddress::of(&certificate.body().node);
                let about = IntroductionContext {
                    role: EndRole::of(path_end).other(),
                    nodes: (node.ip(), own),
                    keys: (path_end.key, exchange::public(&path_end.secret)),
                };
                let may = self.map.as_ref().is_none_or(|map| is_accepted(&certificate, map));
                if !may || !verify_introduction(&certificate, &signature, &about) {
                    return;
                }
                let (known, wanted) = (path_end.node, self.engine.destination(number));
                // Only the requested node can be the peer, and an authenticated peer never changes.
                if known.is_some_and(|it| it != node.ip()) || wanted.is_some_and(|it| it != node) {
                    return;
                }
                if known.is_none() {
                    let actions = self.engine.set_peer(number, node);
                    self.apply(actions).await;
                    // The first path to or from a node carries the packets to it.
                    if !self.routes.active_paths.contains_key(&node.ip())
                        && !self.engine.is_private(number)
                    {
                        self.route_over(node.ip(), number).await;
                    }
                    self.handle_up(number).await;
                }
                if !knows_receiver {
                    self.introduce(number).await;
                }
            }
            Some(Inner::Ping(token)) => {
                self.path_ends.send(&Inner::Pong(token), from).await;
                self.handle_report(number, PeerReport::Backup(number)).await;
            }
            Some(Inner::Use(token)) => {
                self.path_ends.send(&Inner::Pong(token), from).await;
                self.handle_report(number, PeerReport::Active(number)).await;
            }
            Some(Inner::Pong(token)) => {
                if let Some(Pinged { waiting, hops }) = self.path_ends.pings.remove(&token) {
                    let milliseconds = waiting.since.elapsed().as_micros() as f64 / 1000.0;
                    let answer = match hops {
                        Some(hops) => hops_with_total(hops, Some(milliseconds)),
                        None => json!({ "milliseconds": milliseconds }),
                    };
                    let _ = waiting.answer.send(Ok(answer));
                } else if let (Some(watched), Ok(probe)) =
                    (self.routes.probes.get_mut(&number), token.try_into())
                {
                    watched.handle_reply(probe, Instant::now());
                }
            }
            Some(Inner::ExitRequest) => {
                let said = match self.handle_exit_request(number).await {
                    Some(Ok(address)) => Inner::ExitGrant(address),
                    Some(Err(why)) => Inner::ExitRefused(why),
                    None => return,
                };
                self.path_ends.send(&said, from).await;
            }
            Some(Inner::MtuProbe(size)) => {
                self.path_ends.send(&Inner::MtuProbeReply(size), from).await;
            }
            Some(Inner::MtuProbeReply(size)) => self.handle_mtu_reply(number, size).await,
            Some(Inner::ExitGrant(address)) => self.handle_exit_reply(number, Ok(address)).await,
            Some(Inner::ExitRefused(why)) => self.handle_exit_reply(number, Err(why)).await,
            None if is_outdated(bytes) && self.path_ends.outdated.insert(number) => say!(
                "path {number}: the other end runs an older version, which is not accepted: update that node"
            ),
            None => {}
        }
    }

    /// Handles the source's report of whether it uses a path that ends here.
    async fn handle_report(&mut self, number: PathNumber, report: PeerReport) {
        let Some(path_end) = self.engine.path_end(number).filter(|it| !it.is_source) else {
            return;
        };
        let Some(node) = path_end.node.and_then(|it| it.try_into().ok()) else { return };
        self.reroute(node, Some(report)).await;
    }

    /// Sends this node's introduction to the other end of a path.
    pub(super) async fn introduce(&self, number: PathNumber) {
        let own = self.engine.shown_as(number, self.identity.as_ref());
        let Some(own) = own else { return };
        let Some(path_end) = self.engine.path_end(number) else { return };
        let Some(to) = self.path_ends.address(number, &self.engine) else { return };
        // The source introduces itself first: the end does not know the source yet.
        let other = path_end.node.or_else(|| self.engine.destination(number).map(NodeAddress::ip));
        let Some(other) = other else { return };
        self.path_ends.send(&Inner::introduce_on(path_end, own, other), to).await;
    }

    /// Repeats introductions that were not answered.
    pub(super) async fn repeat_introductions(&self) {
        for number in self.engine.unauthenticated() {
            self.introduce(number).await;
        }
    }

    /// Times out waiting requests.
    pub(super) async fn time_out_requests(&mut self, now: Instant) {
        let late = |since: Instant| now.saturating_duration_since(since) >= TIMEOUT;
        for (_, ping) in self.path_ends.pings.extract_if(|_, ping| late(ping.waiting.since)) {
            // The end is silent, but the hops are still worth showing.
            let answer = ping.hops.map(|hops| hops_with_total(hops, None)).ok_or_else(no_answer);
            let _ = ping.waiting.answer.send(answer);
        }
        let has_failed = |(number, request): &(PathNumber, &PendingPath<Waiting>)| {
            late(request.requester.since) || self.status_of(*number).phase == SetupPhase::Failed
        };
        let failed = self.routes.desired.requests().filter(has_failed);
        for number in failed.map(|(number, _)| number).collect::<Vec<_>>() {
            let Some(request) = self.routes.desired.cancel(number) else { continue };
            let mut why = self.end_failed(request.to, number).await;
            if request.replaces && self.routes.desired.routes.contains_key(&request.to) {
                why += "; the route of before stays";
            }
            let _ = request.requester.answer.send(Err(no_path(&why)));
        }
    }
}
