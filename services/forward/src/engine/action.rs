//! What is to be done.

use std::fmt;
use std::net::Ipv4Addr;

use super::end::PathEnd;
use super::{PathCounters, PathNumber};
use crate::control::LinkMessage;
use crate::label::Label;

/// The number of a link of this node, and of its device `fl<N>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNumber(pub u16);

impl LinkNumber {
    /// The name of its device.
    pub fn device(self) -> String {
        format!("fl{}", self.0)
    }
}

impl fmt::Display for LinkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fl{}", self.0)
    }
}

/// Something that is to be done. What is to be sent is sent only when all before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAction {
    /// Keep this under the name, instead of what is there, before anything that follows.
    Keep(String, Vec<u8>),
    /// Nothing is kept under the name any more, once all else is done.
    Forget(String),
    /// This path has ended: what it has carried is known when what follows is done.
    Ended(PathCounters),
    Send(LinkNumber, LinkMessage),
    /// This label may come from that neighbour.
    Let(LinkNumber, Label),
    /// Of what comes with this label this much may come, in kbit/s; 0: however much. What comes above that is
    /// dropped, and counted.
    Bound(LinkNumber, Label, u32),
    /// There is no bound to it any more, and nothing that was above it is counted.
    Unbound(LinkNumber, Label),
    /// It may not any more, and nothing happens with it.
    Forbid(LinkNumber, Label),
    /// What comes with the one goes on with the other, and is counted.
    Swap {
        from: Label,
        to: Label,
        by: LinkNumber,
    },
    /// What comes with this label has come to the end of its path.
    Pop(Label),
    /// What goes from the one address to the other has this label, and is counted.
    Push {
        between: (Ipv4Addr, Ipv4Addr),
        with: Label,
        /// What its time to live begins with.
        ttl: u8,
        by: LinkNumber,
    },
    /// What goes to that neighbour with this label is counted no more: nothing does.
    Uncount(LinkNumber, Label),
    /// Make the end of a path, or see that it is as it should be.
    End(PathNumber, PathEnd),
    /// There is no such end any more, nor what went from the first of these addresses to the other.
    NoEnd(PathNumber, (Ipv4Addr, Ipv4Addr)),
    /// The end of this path can be reached: tell it who asks.
    Introduce(PathNumber),
}
