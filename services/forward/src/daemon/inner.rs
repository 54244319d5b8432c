//! Messages between the two ends of a path, sent within it.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use super::answer::{no_path, silent, with_whole};
use super::{Daemon, Pinged, Waiting};
use crate::desired::PendingPath;
use crate::engine::{PathEnd, PathNumber};
use crate::exchange;
use crate::introduction::{About, EndRole, Inner, PORT, counts, is_at_the_other_end, is_outdated};
use crate::routes::Said;
use crate::status::SetupPhase;
use crate::verbs::TIMEOUT;
use octet_node::address::NodeAddress;
use octet_node::say;

impl Daemon {
    /// Handles a datagram that was received on a path.
    pub(super) async fn inner(&mut self, from: SocketAddr, bytes: &[u8]) {
        // Other senders on the path's device use other ports; PID 1 alone hands out this one.
        let SocketAddr::V6(from) = from else { return };
        if from.port() != PORT {
            return;
        }
        let Some(number) = self.ends.of(from) else { return };
        match Inner::from_bytes(bytes) {
            Some(Inner::Introduction { certificate, signature, knows }) => {
                let Some(stretch) = self.engine.stretch(number) else { return };
                let Some(own) = self.node().map(|it| NodeAddress::of(&it).ip()) else { return };
                let node = NodeAddress::of(&certificate.body().node);
                let about = About {
                    role: role(stretch).other(),
                    nodes: (node.ip(), own),
                    keys: (stretch.key, exchange::public(&stretch.secret)),
                };
                let may = self.map.as_ref().is_none_or(|map| counts(&certificate, map));
                if !may || !is_at_the_other_end(&certificate, &signature, &about) {
                    return;
                }
                let (known, wanted) = (stretch.node, self.engine.wanted(number));
                // Only the requested node can be the peer, and an authenticated peer never changes.
                if known.is_some_and(|it| it != node.ip()) || wanted.is_some_and(|it| it != node) {
                    return;
                }
                if known.is_none() {
                    let actions = self.engine.introduced(number, node);
                    self.act(actions).await;
                    // The first path to or from a node carries the packets to it.
                    if !self.routes.uses.contains_key(&node.ip()) {
                        self.turn(node.ip(), number).await;
                    }
                    self.up(number).await;
                }
                if !knows {
                    self.introduce(number).await;
                }
            }
            Some(Inner::Ping(token)) => {
                self.ends.send(&Inner::Pong(token), from).await;
                self.said(number, Said::Spares(number)).await;
            }
            Some(Inner::Use(token)) => {
                self.ends.send(&Inner::Pong(token), from).await;
                self.said(number, Said::Uses(number)).await;
            }
            Some(Inner::Pong(token)) => {
                if let Some(Pinged { waiting, hops }) = self.ends.pings.remove(&token) {
                    let milliseconds = waiting.since.elapsed().as_micros() as f64 / 1000.0;
                    let answer = match hops {
                        Some(hops) => with_whole(hops, Some(milliseconds)),
                        None => json!({ "milliseconds": milliseconds }),
                    };
                    let _ = waiting.answer.send(Ok(answer));
                } else if let (Some(watched), Ok(probe)) =
                    (self.routes.watched.get_mut(&number), token.try_into())
                {
                    watched.answered(probe, Instant::now());
                }
            }
            Some(Inner::Leave) => {
                let said = match self.asked_for_place(number).await {
                    Some(Ok(address)) => Inner::Place(address),
                    Some(Err(why)) => Inner::NoPlace(why),
                    None => return,
                };
                self.ends.send(&said, from).await;
            }
            Some(Inner::MtuProbe(size)) => {
                self.ends.send(&Inner::MtuProbed(size), from).await;
            }
            Some(Inner::MtuProbed(size)) => self.passed(number, size).await,
            Some(Inner::Place(address)) => self.told_of_place(number, Ok(address)).await,
            Some(Inner::NoPlace(why)) => self.told_of_place(number, Err(why)).await,
            None if is_outdated(bytes) && self.ends.outdated.insert(number) => say!(
                "path {number}: the other end runs an older version, which is not accepted: update that node"
            ),
            None => {}
        }
    }

    /// Handles the source's report of whether it uses a path that ends here.
    async fn said(&mut self, number: PathNumber, said: Said) {
        let Some(stretch) = self.engine.stretch(number).filter(|it| !it.is_source) else { return };
        let Some(node) = stretch.node.and_then(|it| it.try_into().ok()) else { return };
        self.take_due(node, Some(said)).await;
    }

    /// Sends this node's introduction to the other end of a path.
    pub(super) async fn introduce(&self, number: PathNumber) {
        let Some(own) = &self.own else { return };
        let Some(stretch) = self.engine.stretch(number) else { return };
        let Some(to) = self.ends.address(number, &self.engine) else { return };
        // The source introduces itself first: the end does not know the source yet.
        let other = stretch.node.or_else(|| self.engine.wanted(number).map(NodeAddress::ip));
        let Some(other) = other else { return };
        let about = About {
            role: role(stretch),
            nodes: (NodeAddress::of(&own.certificate.body().node).ip(), other),
            keys: (exchange::public(&stretch.secret), stretch.key),
        };
        let said = Inner::introduce(own, &about, stretch.node.is_some());
        self.ends.send(&said, to).await;
    }

    /// Repeats introductions that were not answered.
    pub(super) async fn introduce_all(&self) {
        for number in self.engine.strangers() {
            self.introduce(number).await;
        }
    }

    /// Times out waiting requests.
    pub(super) async fn give_up(&mut self, now: Instant) {
        let late = |since: Instant| now.saturating_duration_since(since) >= TIMEOUT;
        for (_, ping) in self.ends.pings.extract_if(|_, ping| late(ping.waiting.since)) {
            // The end is silent, but the hops are still worth showing.
            let answer = ping.hops.map(|hops| with_whole(hops, None)).ok_or_else(silent);
            let _ = ping.waiting.answer.send(answer);
        }
        let has_failed = |(number, request): &(PathNumber, &PendingPath<Waiting>)| {
            late(request.waiting.since) || self.status_of(*number).phase == SetupPhase::Failed
        };
        let failed = self.routes.desired.requests().filter(has_failed);
        for number in failed.map(|(number, _)| number).collect::<Vec<_>>() {
            let Some(request) = self.routes.desired.cancel(number) else { continue };
            let mut why = self.fail(request.to, number).await;
            if request.replaces && self.routes.desired.ways.contains_key(&request.to) {
                why += "; the route of before stays";
            }
            let _ = request.waiting.answer.send(Err(no_path(&why)));
        }
    }
}

/// This node's role on a path.
fn role(stretch: &PathEnd) -> EndRole {
    if stretch.is_source { EndRole::Source } else { EndRole::End }
}
