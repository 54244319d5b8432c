//! The engine's output.

use std::fmt;
use std::net::Ipv4Addr;

use super::end::PathEnd;
use super::{PathCounters, PathNumber};
use crate::control::LinkMessage;
use crate::label::Label;

/// The number of a link, and of its device `fl<N>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNumber(pub u16);

impl LinkNumber {
    pub fn device(self) -> String {
        format!("fl{}", self.0)
    }
}

impl fmt::Display for LinkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fl{}", self.0)
    }
}

/// An action for the daemon. A message is sent only when all preceding actions are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAction {
    /// Persist the bytes under this name, before any action that follows.
    Keep(String, Vec<u8>),
    /// Delete what is persisted under this name, after all other actions.
    Forget(String),
    /// Record a path that has ended; its counters are final after the actions that follow.
    Ended(PathCounters),
    Send(LinkNumber, LinkMessage),
    /// Accept this label from the neighbour.
    Let(LinkNumber, Label),
    /// Limit the rate of this label, in kbit/s; 0: unlimited. Packets above it are dropped and counted.
    Bound(LinkNumber, Label, u32),
    /// Remove the rate limit, and its drop counter.
    Unbound(LinkNumber, Label),
    /// Stop accepting this label, and remove its route.
    Forbid(LinkNumber, Label),
    /// Swap the incoming label for the outgoing one, and count packets.
    Swap {
        from: Label,
        to: Label,
        by: LinkNumber,
    },
    /// Pop this label: its path ends here.
    Pop(Label),
    /// Push this label on packets between the two addresses, and count them.
    Push {
        between: (Ipv4Addr, Ipv4Addr),
        with: Label,
        /// The initial TTL of the label.
        ttl: u8,
        by: LinkNumber,
    },
    /// Stop counting packets to the neighbour with this label: none are sent any more.
    Uncount(LinkNumber, Label),
    /// Create a path end, or check that it is up to date.
    End(PathNumber, PathEnd),
    /// Remove a path end, and the route between these addresses.
    NoEnd(PathNumber, (Ipv4Addr, Ipv4Addr)),
    /// Send an introduction to the other end, which is reachable now.
    Introduce(PathNumber),
}
