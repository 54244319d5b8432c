//! The engine's output.

use std::fmt;

use super::{KernelEntry, PathCounters, PathNumber};
use crate::control::LinkMessage;

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
    /// Install this in the kernel, or see that it is there.
    Install(KernelEntry),
    /// Remove this from the kernel; what was counted by it ends.
    Remove(KernelEntry),
    /// Send an introduction to the other end, which is reachable now.
    Introduce(PathNumber),
}
