//! Answers to verbs.

use std::collections::BTreeMap;
use std::time::Instant;

use octet_node::control::{Failure, FailureCode};
use octet_node::key::random;
use octet_node::map::Member;
use serde_json::{Value, json};

use super::neighbour_links::Open;
use super::{Daemon, Pinged, Waiting};
use crate::engine::PathNumber;
use crate::kernel::KernelError;
use crate::kernel::meter::{self, Count, Meter};
use crate::label::Label;
use crate::mtu::{NARROW, PLAIN};
use crate::topology::Topology;
use crate::trace;
use crate::verbs::{DaemonRequest, PathTarget, PendingRequest};
use octet_node::address::{NodeAddress, name};

/// The failure if the other end of a path has not answered.
pub(super) fn no_answer() -> Failure {
    let help = "`forward paths` tells how it is";
    Failure::new(FailureCode::Failed, "the other end of the path does not answer", help)
}

/// The hops of a path, and its round-trip time in milliseconds if known.
pub(super) fn hops_with_total(mut hops: Vec<Value>, milliseconds: Option<f64>) -> Value {
    let by = if milliseconds.is_some() { "ping" } else { "no answer" };
    let none = Value::Null;
    hops.push(json!({
        "hop": "all", "node": none, "label": none, "milliseconds": milliseconds, "by": by,
    }));
    hops.into()
}

pub(super) fn no_path(why: &str) -> Failure {
    let help = "`forward links` and `forward status` tell who can be reached; try other hops";
    Failure::new(FailureCode::Failed, format!("there is no path: {why}"), help)
}

pub(super) fn unknown_path(number: PathNumber) -> Failure {
    let message = format!("no path that begins here has the number {number}");
    let help =
        "`forward paths` lists all; a route without a path is named by its node, with `--to`";
    Failure::new(FailureCode::NotFound, message, help)
}

fn unknown(what: &str) -> Failure {
    let help = "give a node's name, its address in fc00::/8, the number of a board, or what a [[neighbour]] line calls it";
    Failure::new(
        FailureCode::BadArgument,
        format!("`{what}` is not a node that is known here"),
        help,
    )
}

/// The failure if the counters cannot be read.
pub(super) fn counters_failure(error: KernelError) -> Failure {
    let help = "`netd show` tells whether its own tables are there; then see the log";
    Failure::new(FailureCode::Failed, error.to_string(), help)
}

impl Daemon {
    pub(super) async fn handle_request(&mut self, question: PendingRequest) {
        let PendingRequest { request, answer } = question;
        let now = Waiting { answer, since: Instant::now() };
        let answered = match request {
            DaemonRequest::Ping(target) => return self.ping_target(&target, now).await,
            DaemonRequest::Trace(path) => return self.trace(path, now).await,
            DaemonRequest::Add(wanted) => {
                self.add(&wanted, now).await;
                return;
            }
            DaemonRequest::PrivatePath(wanted) => return self.lend_path(&wanted, now).await,
            DaemonRequest::PrivateRenew(path) => self.renew_path(path),
            DaemonRequest::PrivateEnd(path) => self.return_path(path).await,
            DaemonRequest::Status => Ok(self.status()),
            DaemonRequest::Descriptor => self.descriptor(),
            DaemonRequest::Links => Ok(self.links_json()),
            DaemonRequest::Paths => Ok(self.paths_json()),
            DaemonRequest::Labels => self.labels().await,
            DaemonRequest::Records { after } => self.records_json(after).await,
            DaemonRequest::Traffic => self.traffic_json(),
            DaemonRequest::AccountLimit(node, limit) => self.limit_account(&node, limit).await,
            DaemonRequest::AccountSend(node, message) => self.send_account(&node, message).await,
            DaemonRequest::AccountReceive => Ok(self.account_messages.take()),
            DaemonRequest::Drop(PathTarget::Path(path)) => self.drop_path(path).await,
            DaemonRequest::Drop(PathTarget::To(node)) => self.drop_to(&node).await,
            DaemonRequest::Rate(path, rate) => self.change_rate(path, rate).await,
        };
        let _ = now.answer.send(answered);
    }

    fn status(&self) -> Value {
        let node = self.node();
        json!({
            "address": node.map(|node| NodeAddress::of(&node).to_string()),
            "name": node.map(|node| name(&node)),
            "links": self.links.up().count(),
            "nodes": self.announcements.topology.iter().flat_map(Topology::iter).count(),
            "paths": self.engine.paths().count(),
            "relayed": self.engine.transit_count(),
            "vpn": self.exit_json(),
            "clients": self.exit.clients.numbers().count(),
        })
    }

    /// This node's peer descriptor, for a link from another box.
    fn descriptor(&self) -> Result<Value, Failure> {
        let help = "see `identity show`, and ask once more";
        let none = || Failure::new(FailureCode::Failed, "this node has no certified key yet", help);
        let own = self.identity.as_ref().ok_or_else(none)?;
        Ok(json!({ "descriptor": String::from(own.certificate.clone()) }))
    }

    fn links_json(&self) -> Value {
        let row = |open: &Open| {
            let node = open.neighbour.address();
            let called = self.settings.lines.name(node);
            let by_map = self.member(node).map(|member| member.number);
            let quality = open.probes.quality();
            let (lost, of) = quality.lost;
            json!({
                "link": open.neighbour.link.device(),
                "board": by_map,
                "node": called.map_or_else(|| node.to_string(), str::to_owned),
                "by": open.transport(),
                "up": open.is_up,
                "mtu": open.neighbour.plain.map_or(open.mtu.found(), |_| Some(PLAIN)),
                "milliseconds": quality.round_trip.map(|it| it.as_micros() as f64 / 1000.0),
                "lost": format!("{lost} of {of}"),
                "kilobits": open.trains.capacity(),
                "reason": open.mtu.is_narrow().then_some(NARROW),
            })
        };
        self.links.open.values().map(row).collect()
    }

    /// The board of this box with this node address.
    fn member(&self, node: NodeAddress) -> Option<&Member> {
        let mut of = self.map.iter().flat_map(|map| &map.members);
        of.find(|member| NodeAddress::of(&member.node) == node)
    }

    /// A node's display name: the board's number within the box, or the configured name of a node of another
    /// box.
    pub(super) fn display_name(&self, node: NodeAddress) -> String {
        let board = self.member(node).map(|member| format!("board-{}", member.number));
        let named = || self.settings.lines.name(node).map(str::to_owned);
        board.or_else(named).unwrap_or_else(|| node.to_string())
    }

    async fn records_json(&self, after: u64) -> Result<Value, Failure> {
        let counts = meter::counts().map_err(counters_failure)?;
        Ok(self.accounting.records_json(after, &self.engine.path_counters(), &counts))
    }

    async fn labels(&self) -> Result<Value, Failure> {
        let counts = meter::counts().map_err(counters_failure)?;
        let row = |(meter, count): (&Meter, &Count)| {
            json!({
                "link": meter.device,
                "way": meter.direction.name(),
                "label": meter.label.get(),
                "packets": count.packets,
                "bytes": count.bytes,
            })
        };
        Ok(counts.iter().map(row).collect())
    }

    /// Resolves a display name to a node.
    pub(super) fn resolve_node(&self, text: &str) -> Result<NodeAddress, Failure> {
        let known: BTreeMap<_, _> = self
            .map
            .iter()
            .flat_map(|map| &map.members)
            .map(|member| (member.number.to_string(), NodeAddress::of(&member.node)))
            .collect();
        let number = text.strip_prefix("board-").unwrap_or(text);
        let by_name = || octet_node::address::parse_name(text).map(|key| NodeAddress::of(&key));
        let by_line = || self.settings.lines.find(text);
        let by_address = || text.parse().ok().and_then(|ip: std::net::Ipv6Addr| ip.try_into().ok());
        let found = known.get(number).copied().or_else(by_line).or_else(by_address);
        found.or_else(by_name).ok_or_else(|| unknown(text))
    }

    /// Answers with the hops of a path and the result of a ping.
    async fn trace(&mut self, number: PathNumber, waiting: Waiting) {
        match self.traced_hops(number) {
            Ok((hops, true)) => self.ping(number, waiting, Some(hops)).await,
            Ok((hops, false)) => drop(waiting.answer.send(Ok(hops_with_total(hops, None)))),
            Err(failure) => drop(waiting.answer.send(Err(failure))),
        }
    }

    /// The hops of a path that begins here, and whether its end has been authenticated.
    fn traced_hops(&self, number: PathNumber) -> Result<(Vec<Value>, bool), Failure> {
        let none = || unknown_path(number);
        let path = self.engine.path(number).ok_or_else(none)?;
        let own = self.node().map(|node| NodeAddress::of(&node)).ok_or_else(none)?;
        let link = |from, to| self.announcements.topology.as_ref()?.link(from, to);
        let rows = trace::hops(own, &path.hops, path.label(), link).into_iter().zip(0..);
        let row = |(hop, at): (trace::TracedHop, usize)| {
            json!({
                "hop": at,
                "node": self.display_name(hop.node),
                "label": hop.label.map(Label::get),
                "milliseconds": hop.milliseconds,
                "by": "announced",
            })
        };
        Ok((rows.map(row).collect(), path.end.node.is_some()))
    }

    /// Pings the other end of a path.
    async fn ping_target(&mut self, target: &PathTarget, waiting: Waiting) {
        match self.ping_path(target) {
            Ok(number) => self.ping(number, waiting, None).await,
            Err(failure) => drop(waiting.answer.send(Err(failure))),
        }
    }

    async fn ping(&mut self, number: PathNumber, waiting: Waiting, hops: Option<Vec<Value>>) {
        let token = u64::from_be_bytes(random().unwrap_or_default());
        self.path_ends.pings.insert(token, Pinged { waiting, hops });
        self.probe(number, token).await;
    }
}
