//! The LAN's exit (`[vpn]`): this node periodically requests a slot from the exit node, and installs the tunnel
//! while the lease lasts. netd blocks the uplink meanwhile, independently of this service.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use octet_node::address::NodeAddress;
use octet_node::say;
use serde_json::{Value, json};

use super::Daemon;
use super::exit::LanExit;
use crate::engine::PathNumber;
use crate::introduction::{ExitRefusal, Inner};
use crate::kernel::KernelError;

/// The name of the persisted slot.
pub(super) const LAN_EXIT_RECORD: &str = "v";

/// The router's number in the membership map.
const ROUTER: u8 = 0;

/// The interval of slot requests.
const REQUEST_INTERVAL: Duration = Duration::from_secs(5);

/// How long a slot stays valid without confirmation. The exit keeps it for longer.
const LEASE_TIMEOUT: Duration = Duration::from_secs(120);

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
    pub(super) async fn maintain_exit(&mut self, now: Instant) {
        if self.links.keys.is_none() || self.is_router().is_none() {
            return;
        }
        let exit = self.exit_node();
        let is_over =
            |(_, said): (Ipv4Addr, Instant)| now.saturating_duration_since(said) >= LEASE_TIMEOUT;
        if self.exit.lan_exit.exit != exit || self.exit.lan_exit.lease.is_some_and(is_over) {
            self.exit.remove_lan_exit(&self.kernel, &self.state).await;
            // A failed removal is retried.
            if self.exit.lan_exit.lease.is_some() {
                return;
            }
            self.exit.lan_exit = LanExit { exit, ..LanExit::default() };
        }
        let Some(exit) = exit else { return };
        // This starts a route, as traffic to the exit would.
        self.start_on_demand(Ok(vec![exit.ip()]));
        let is_early = |at: Instant| now.saturating_duration_since(at) < REQUEST_INTERVAL;
        if self.exit.lan_exit.last_request.is_some_and(is_early) {
            return;
        }
        let by = self
            .routes
            .active_paths
            .get(&exit.ip())
            .and_then(|path| self.path_ends.address(*path, &self.engine));
        let Some(to) = by else { return };
        self.exit.lan_exit.last_request = Some(now);
        self.path_ends.send(&Inner::ExitRequest, to).await;
    }

    /// Handles the exit's answer to a slot request.
    pub(super) async fn handle_exit_reply(
        &mut self,
        by: PathNumber,
        reply: Result<Ipv4Addr, ExitRefusal>,
    ) {
        let node = self.engine.path_end(by).and_then(|path_end| path_end.node);
        let Some(exit) = self.exit.lan_exit.exit.filter(|exit| Some(exit.ip()) == node) else {
            return;
        };
        match (reply, &mut self.exit.lan_exit.lease) {
            (Ok(address), Some((given, at))) if *given == address => {
                *at = Instant::now();
                return;
            }
            _ => self.exit.remove_lan_exit(&self.kernel, &self.state).await,
        }
        if self.exit.lan_exit.lease.is_some() {
            return;
        }
        let refused = match reply {
            Ok(address) if self.links.ends().contains(&address) => {
                Some(format!("{address}, which it gives, is an address of a link of this node"))
            }
            Ok(address) => self.install_exit(exit, address).await.err().map(|it| it.to_string()),
            Err(why) => Some(why.to_string()),
        };
        // The refusal is logged once, although requests repeat.
        if refused.is_none() || refused != self.exit.lan_exit.refusal {
            let how = refused.as_ref().map_or("now".to_owned(), |why| format!("not: {why}"));
            say!("the lan leaves by {}: {how}", self.display_name(exit));
        }
        self.exit.lan_exit.refusal = refused;
    }

    async fn install_exit(
        &mut self,
        exit: NodeAddress,
        address: Ipv4Addr,
    ) -> Result<(), KernelError> {
        let Some(own) = self.node() else { return Ok(()) };
        // A local client with this address gets another one.
        self.exit.end_client_at(address, &self.kernel, &self.state).await;
        self.state.persist(LAN_EXIT_RECORD, &[&exit.octets()[..], &address.octets()].concat())?;
        self.exit.lan_exit.lease = Some((address, Instant::now()));
        let ends = (NodeAddress::of(&own).ip(), exit.ip());
        let left = self.kernel.open_exit(ends, self.mtu_to(exit), address).await;
        if left.is_err() {
            self.exit.remove_lan_exit(&self.kernel, &self.state).await;
        }
        left
    }

    /// Resumes the previous daemon's slot, if its exit is still the configured one.
    pub(super) async fn restore_exit(&mut self) {
        let read = |bytes: Vec<u8>| {
            let (exit, address) = bytes.split_first_chunk::<16>()?;
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?);
            Some((NodeAddress::try_from(*exit).ok()?, address))
        };
        let saved = self.state.get(LAN_EXIT_RECORD).and_then(read);
        let Some((exit, address)) = saved.filter(|(exit, _)| self.exit_node() == Some(*exit))
        else {
            return;
        };
        self.exit.lan_exit = LanExit { exit: Some(exit), ..LanExit::default() };
        if let Err(error) = self.install_exit(exit, address).await {
            say!("{error}");
        }
    }

    /// The state of the exit, for `status`.
    pub(super) fn exit_json(&self) -> Value {
        let Some(exit) = self.exit_node() else { return Value::Null };
        let has_path = self.routes.active_paths.contains_key(&exit.ip());
        let state = match (&self.exit.lan_exit.lease, &self.exit.lan_exit.refusal) {
            _ if !has_path => "no path".to_owned(),
            (Some(_), _) => "open".to_owned(),
            (None, Some(why)) => format!("refused: {why}"),
            (None, None) => "asked".to_owned(),
        };
        let address = self.exit.lan_exit.lease.map(|(address, _)| address.to_string());
        json!({ "exit": self.display_name(exit), "address": address, "state": state })
    }
}
