//! The devices of the lan leave by another node, the exit (`[vpn]`): it is asked for a place, again and again, and what
//! leads there is in the kernel as long as it gives one. That nothing leaves by the uplink meanwhile is netd's doing,
//! and takes nothing of this.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use octet_node::address::NodeAddress;
use octet_node::say;
use serde_json::{Value, json};

use super::Daemon;
use crate::engine::PathNumber;
use crate::introduction::{ExitRefusal, Inner};
use crate::kernel::KernelError;
use crate::kernel::tunnels::LEAVE;

/// The name of what is kept of the place.
const PLACE: &str = "v";

/// The router's number in the map.
const ROUTER: u8 = 0;

/// How often the exit is asked.
const ASK: Duration = Duration::from_secs(5);

/// For how long a place counts of which the exit says nothing any more. It keeps the place for longer.
const COUNTS: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// By which node; what follows is about this one.
    exit: Option<NodeAddress>,
    /// The address that it has given, and when it said so last.
    place: Option<(Ipv4Addr, Instant)>,
    /// When it was asked last.
    asked: Option<Instant>,
    refused: Option<String>,
}

impl Leaving {
    /// Whether this address is the one that the exit has given.
    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        self.place.is_some_and(|(given, _)| given == address)
    }

    /// The device, if there is one.
    pub(super) fn device(&self) -> Option<String> {
        self.place.map(|_| LEAVE.to_owned())
    }
}

impl Daemon {
    /// Whether this node is the router of its box; `None` as long as that is not known.
    pub(super) fn is_router(&self) -> Option<bool> {
        Some(self.map.as_ref()?.of(&self.node()?)?.number == ROUTER)
    }

    /// The node by which the devices of this one's lan leave.
    pub(super) fn exit(&self) -> Option<NodeAddress> {
        self.settings.exit.filter(|_| self.is_router() == Some(true))
    }

    /// Keeps a way to the exit, asks it for a place, and gives up one of which it says nothing any more.
    pub(super) async fn leave(&mut self, now: Instant) {
        if self.linked_as.is_none() || self.is_router().is_none() {
            return;
        }
        let exit = self.exit();
        let is_over =
            |(_, said): (Ipv4Addr, Instant)| now.saturating_duration_since(said) >= COUNTS;
        if self.leaving.exit != exit || self.leaving.place.is_some_and(is_over) {
            self.end_leaving().await;
            // What could not be ended is tried again.
            if self.leaving.place.is_some() {
                return;
            }
            self.leaving = Leaving { exit, ..Leaving::default() };
        }
        let Some(exit) = exit else { return };
        // As if a program had sent something there.
        self.want(Ok(vec![exit.ip()]));
        let is_early = |at: Instant| now.saturating_duration_since(at) < ASK;
        if self.leaving.asked.is_some_and(is_early) {
            return;
        }
        let by = self.uses.get(&exit.ip()).and_then(|path| self.inner_end(*path));
        let Some(to) = by else { return };
        self.leaving.asked = Some(now);
        let _ = self.ends.send_to(&Inner::Leave.to_bytes(), to).await;
    }

    /// The node at the other end of a path says whether it gives a place.
    pub(super) async fn told_of_place(
        &mut self,
        by: PathNumber,
        said: Result<Ipv4Addr, ExitRefusal>,
    ) {
        let node = self.engine.stretch(by).and_then(|stretch| stretch.node);
        let Some(exit) = self.leaving.exit.filter(|exit| Some(exit.ip()) == node) else { return };
        match (said, &mut self.leaving.place) {
            (Ok(address), Some((given, at))) if *given == address => {
                *at = Instant::now();
                return;
            }
            _ => self.end_leaving().await,
        }
        if self.leaving.place.is_some() {
            return;
        }
        let refused = match said {
            Ok(address) if self.link_ends().contains(&address) => {
                Some(format!("{address}, which it gives, is an address of a link of this node"))
            }
            Ok(address) => self.begin_leaving(exit, address).await.err().map(|it| it.to_string()),
            Err(why) => Some(why.to_string()),
        };
        // Once: it is asked again and again.
        if refused.is_none() || refused != self.leaving.refused {
            let how = refused.as_ref().map_or("now".to_owned(), |why| format!("not: {why}"));
            say!("the lan leaves by {}: {how}", self.called(exit));
        }
        self.leaving.refused = refused;
    }

    async fn begin_leaving(
        &mut self,
        exit: NodeAddress,
        address: Ipv4Addr,
    ) -> Result<(), KernelError> {
        let Some(own) = self.node() else { return Ok(()) };
        // Whoever has it here is given another one.
        self.end_place_at(address).await;
        self.remember(PLACE, &[&exit.octets()[..], &address.octets()].concat())?;
        self.leaving.place = Some((address, Instant::now()));
        let ends = (NodeAddress::of(&own).ip(), exit.ip());
        let left = self.kernel.leave(ends, self.mtu_to(exit), address).await;
        if left.is_err() {
            self.end_leaving().await;
        }
        left
    }

    /// The devices of the lan leave by nobody.
    async fn end_leaving(&mut self) {
        if self.leaving.place.is_none() {
            return;
        }
        // What is kept goes last: as long as the device is there, it is known whose it is.
        let ended = self.kernel.remove(LEAVE).await.and_then(|()| self.unlearn(PLACE));
        match ended {
            Ok(()) => self.leaving.place = None,
            Err(error) => say!("{error}"),
        }
    }

    /// Takes up the place of the daemon before, if that is by the node that is the exit still.
    pub(super) async fn take_up_leaving(&mut self) {
        let read = |bytes: Vec<u8>| {
            let (exit, address) = bytes.split_first_chunk::<16>()?;
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?);
            Some((NodeAddress::try_from(*exit).ok()?, address))
        };
        let kept = self.memory.get(PLACE).and_then(read);
        let Some((exit, address)) = kept.filter(|(exit, _)| self.exit() == Some(*exit)) else {
            return;
        };
        self.leaving = Leaving { exit: Some(exit), ..Leaving::default() };
        if let Err(error) = self.begin_leaving(exit, address).await {
            say!("{error}");
        }
    }

    /// The addresses at both ends of this node's links.
    pub(super) fn link_ends(&self) -> BTreeSet<Ipv4Addr> {
        self.open.values().flat_map(|open| <[_; 2]>::from(open.neighbour.ends)).collect()
    }

    /// How it stands, for people.
    pub(super) fn shown_leaving(&self) -> Value {
        let Some(exit) = self.exit() else { return Value::Null };
        let has_path = self.uses.contains_key(&exit.ip());
        let state = match (&self.leaving.place, &self.leaving.refused) {
            _ if !has_path => "no path".to_owned(),
            (Some(_), _) => "open".to_owned(),
            (None, Some(why)) => format!("refused: {why}"),
            (None, None) => "asked".to_owned(),
        };
        let address = self.leaving.place.map(|(address, _)| address.to_string());
        json!({ "exit": self.called(exit), "address": address, "state": state })
    }
}
