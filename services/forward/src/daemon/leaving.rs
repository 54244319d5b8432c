//! The LAN's exit (`[vpn]`): this node periodically requests a slot from the exit node, and installs the tunnel
//! while the lease lasts. netd blocks the uplink meanwhile, independently of this service.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use octet_node::address::NodeAddress;
use octet_node::say;
use serde_json::{Value, json};

use super::Daemon;
use super::exit::Leaving;
use crate::engine::PathNumber;
use crate::introduction::{ExitRefusal, Inner};
use crate::kernel::KernelError;

/// The name of the persisted slot.
pub(super) const PLACE: &str = "v";

/// The router's number in the membership map.
const ROUTER: u8 = 0;

/// The interval of slot requests.
const ASK: Duration = Duration::from_secs(5);

/// How long a slot stays valid without confirmation. The exit keeps it for longer.
const COUNTS: Duration = Duration::from_secs(120);

impl Daemon {
    /// Whether this node is the box's router; `None` if not known yet.
    pub(super) fn is_router(&self) -> Option<bool> {
        Some(self.map.as_ref()?.member_by_key(&self.node()?)?.number == ROUTER)
    }

    /// The exit node of this node's LAN.
    pub(super) fn exit_node(&self) -> Option<NodeAddress> {
        self.settings.exit.filter(|_| self.is_router() == Some(true))
    }

    /// Keeps a route to the exit, requests a slot, and gives up a slot that is no longer confirmed.
    pub(super) async fn leave(&mut self, now: Instant) {
        if self.links.made_as.is_none() || self.is_router().is_none() {
            return;
        }
        let exit = self.exit_node();
        let is_over =
            |(_, said): (Ipv4Addr, Instant)| now.saturating_duration_since(said) >= COUNTS;
        if self.exit.leaving.exit != exit || self.exit.leaving.place.is_some_and(is_over) {
            self.exit.end_leaving(&self.kernel, &self.memory).await;
            // A failed removal is retried.
            if self.exit.leaving.place.is_some() {
                return;
            }
            self.exit.leaving = Leaving { exit, ..Leaving::default() };
        }
        let Some(exit) = exit else { return };
        // This starts a route, as traffic to the exit would.
        self.want(Ok(vec![exit.ip()]));
        let is_early = |at: Instant| now.saturating_duration_since(at) < ASK;
        if self.exit.leaving.asked.is_some_and(is_early) {
            return;
        }
        let by = self
            .routes
            .uses
            .get(&exit.ip())
            .and_then(|path| self.ends.address(*path, &self.engine));
        let Some(to) = by else { return };
        self.exit.leaving.asked = Some(now);
        self.ends.send(&Inner::Leave, to).await;
    }

    /// Handles the exit's answer to a slot request.
    pub(super) async fn told_of_place(
        &mut self,
        by: PathNumber,
        said: Result<Ipv4Addr, ExitRefusal>,
    ) {
        let node = self.engine.stretch(by).and_then(|stretch| stretch.node);
        let Some(exit) = self.exit.leaving.exit.filter(|exit| Some(exit.ip()) == node) else {
            return;
        };
        match (said, &mut self.exit.leaving.place) {
            (Ok(address), Some((given, at))) if *given == address => {
                *at = Instant::now();
                return;
            }
            _ => self.exit.end_leaving(&self.kernel, &self.memory).await,
        }
        if self.exit.leaving.place.is_some() {
            return;
        }
        let refused = match said {
            Ok(address) if self.links.ends().contains(&address) => {
                Some(format!("{address}, which it gives, is an address of a link of this node"))
            }
            Ok(address) => self.begin_leaving(exit, address).await.err().map(|it| it.to_string()),
            Err(why) => Some(why.to_string()),
        };
        // The refusal is logged once, although requests repeat.
        if refused.is_none() || refused != self.exit.leaving.refused {
            let how = refused.as_ref().map_or("now".to_owned(), |why| format!("not: {why}"));
            say!("the lan leaves by {}: {how}", self.called(exit));
        }
        self.exit.leaving.refused = refused;
    }

    async fn begin_leaving(
        &mut self,
        exit: NodeAddress,
        address: Ipv4Addr,
    ) -> Result<(), KernelError> {
        let Some(own) = self.node() else { return Ok(()) };
        // A local client with this address gets another one.
        self.exit.end_client_at(address, &self.kernel, &self.memory).await;
        self.memory.remember(PLACE, &[&exit.octets()[..], &address.octets()].concat())?;
        self.exit.leaving.place = Some((address, Instant::now()));
        let ends = (NodeAddress::of(&own).ip(), exit.ip());
        let left = self.kernel.leave(ends, self.mtu_to(exit), address).await;
        if left.is_err() {
            self.exit.end_leaving(&self.kernel, &self.memory).await;
        }
        left
    }

    /// Resumes the previous daemon's slot, if its exit is still the configured one.
    pub(super) async fn take_up_leaving(&mut self) {
        let read = |bytes: Vec<u8>| {
            let (exit, address) = bytes.split_first_chunk::<16>()?;
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?);
            Some((NodeAddress::try_from(*exit).ok()?, address))
        };
        let kept = self.memory.get(PLACE).and_then(read);
        let Some((exit, address)) = kept.filter(|(exit, _)| self.exit_node() == Some(*exit)) else {
            return;
        };
        self.exit.leaving = Leaving { exit: Some(exit), ..Leaving::default() };
        if let Err(error) = self.begin_leaving(exit, address).await {
            say!("{error}");
        }
    }

    /// The state of the exit, for `status`.
    pub(super) fn shown_leaving(&self) -> Value {
        let Some(exit) = self.exit_node() else { return Value::Null };
        let has_path = self.routes.uses.contains_key(&exit.ip());
        let state = match (&self.exit.leaving.place, &self.exit.leaving.refused) {
            _ if !has_path => "no path".to_owned(),
            (Some(_), _) => "open".to_owned(),
            (None, Some(why)) => format!("refused: {why}"),
            (None, None) => "asked".to_owned(),
        };
        let address = self.exit.leaving.place.map(|(address, _)| address.to_string());
        json!({ "exit": self.called(exit), "address": address, "state": state })
    }
}
