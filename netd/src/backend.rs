//! The interface to the kernel. [`crate::network`] knows the order of the steps; a backend knows
//! how each one is done.

use std::collections::BTreeMap;
use std::io;

use octet_router::matrix::ReceivedProbes;

use crate::conntrack::TrackedFlow;
use crate::generation::Author;
use crate::observed::{Observed, StaticNeighbour};
use crate::plan::PlanStep;
use crate::port_bindings::PortBindings;
use crate::rules::NodeTables;

/// Dropped frames, by port and then by the reason for the drop.
pub type Drops = BTreeMap<String, BTreeMap<String, u64>>;

/// The backend does not answer, or refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

impl From<io::Error> for BackendError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Applies the network state. A backend decides nothing itself.
pub trait Backend {
    /// Disables the kernel's own handling of router advertisements, and enlarges the neighbour
    /// table of a router.
    fn prepare(&self, is_router: bool);

    /// Reads the current state, except rules and flows.
    fn observe(&self) -> impl Future<Output = Result<Observed, BackendError>>;

    fn apply(&self, change: &PlanStep) -> impl Future<Output = Result<(), BackendError>>;

    /// Replaces the ruleset with `rules` in one transaction. With `before`, the ruleset that is
    /// loaded now, only the differences are changed; without it the state of the kernel's tables is
    /// unknown.
    ///
    /// # Errors
    /// The kernel refuses; the previous ruleset stays in force.
    fn load(
        &self,
        rules: &NodeTables,
        before: Option<&NodeTables>,
    ) -> impl Future<Output = Result<(), BackendError>>;

    /// Whether this change of the ruleset was made by [`load`](Self::load).
    fn is_own(&self, author: &Author) -> impl Future<Output = bool>;

    /// The port bindings in the loaded ruleset: those of the previous netd process.
    fn plugged(&self) -> impl Future<Output = PortBindings>;

    /// Ends every flow for which `ends` returns true, and returns these flows.
    fn end_flows(
        &self,
        ends: impl Fn(&TrackedFlow) -> bool,
    ) -> Result<Vec<TrackedFlow>, BackendError>;

    /// The ruleset in nft's syntax.
    fn rules(&self) -> impl Future<Output = Result<String, BackendError>>;

    /// Frames dropped at each port of a router.
    fn drops(&self) -> impl Future<Output = Result<Drops, BackendError>>;

    /// How many new flows each rule of a router has allowed, by the name of its chain.
    fn rule_counters(&self) -> impl Future<Output = Result<BTreeMap<String, u64>, BackendError>>;

    /// Starts recording received packets, and clears what was recorded before.
    fn watch(&self) -> impl Future<Output = Result<(), BackendError>>;

    fn unwatch(&self) -> impl Future<Output = Result<(), BackendError>>;

    /// What was received since [`watch`](Self::watch).
    ///
    /// # Errors
    /// Nothing is being recorded, or the kernel does not answer.
    fn received(&self) -> impl Future<Output = Result<ReceivedProbes, BackendError>>;

    /// Adds a neighbour entry for an address on a link; the kernel verifies it by its own neighbour
    /// discovery.
    fn set_neighbour(
        &self,
        neighbour: &StaticNeighbour,
    ) -> impl Future<Output = Result<(), BackendError>>;
}
