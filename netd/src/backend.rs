//! What has the network be as it is wanted: the kernel. [`crate::network`] knows in which order that is done, and
//! nothing of how.

use std::collections::BTreeMap;
use std::io;

use octet_router::matrix::ReceivedProbes;

use crate::conntrack::TrackedFlow;
use crate::generation::Author;
use crate::observed::{Observed, StaticNeighbour};
use crate::plan::PlanStep;
use crate::plugged::PortBindings;
use crate::rules::NodeTables;

/// Frames, by port, then by the reason for which they were dropped.
pub type Drops = BTreeMap<String, BTreeMap<String, u64>>;

/// It does not answer, or refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

impl From<io::Error> for BackendError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What has the network be as it is wanted. It decides nothing.
pub trait Backend {
    /// Has it leave alone what is for netd to judge, and have room for what a router's ports bring.
    fn prepare(&self, is_router: bool);

    /// What it has, but for rules and flows.
    fn observe(&self) -> impl Future<Output = Result<Observed, BackendError>>;

    fn apply(&self, change: &PlanStep) -> impl Future<Output = Result<(), BackendError>>;

    /// Has it let what `rules` let, and nothing else, in one transaction. If it has those of `before`, only what
    /// differs is touched; without them nothing is known of what it has.
    ///
    /// # Errors
    /// It refuses, and lets what it let before.
    fn load(
        &self,
        rules: &NodeTables,
        before: Option<&NodeTables>,
    ) -> impl Future<Output = Result<(), BackendError>>;

    /// Whether this change of rules was made by [`load`](Self::load).
    fn is_own(&self, author: &Author) -> impl Future<Output = bool>;

    /// Who is plugged in, as far as its rules know: those of a netd before this one.
    fn plugged(&self) -> impl Future<Output = PortBindings>;

    /// Ends every flow of which `ends` says so. Returns those.
    fn end_flows(
        &self,
        ends: impl Fn(&TrackedFlow) -> bool,
    ) -> Result<Vec<TrackedFlow>, BackendError>;

    /// Its rules, as a person reads them.
    fn rules(&self) -> impl Future<Output = Result<String, BackendError>>;

    /// What it has dropped at each port of a router.
    fn drops(&self) -> impl Future<Output = Result<Drops, BackendError>>;

    /// How often each line of a router has let a new flow, by the name of its chain.
    fn lines(&self) -> impl Future<Output = Result<BTreeMap<String, u64>, BackendError>>;

    /// Notes what comes in from now on, and forgets what came before.
    fn watch(&self) -> impl Future<Output = Result<(), BackendError>>;

    fn unwatch(&self) -> impl Future<Output = Result<(), BackendError>>;

    /// What has come in since [`watch`](Self::watch).
    ///
    /// # Errors
    /// Nothing is noted, or it does not answer.
    fn came(&self) -> impl Future<Output = Result<ReceivedProbes, BackendError>>;

    /// Has it know who has an address at a link, until it asks there itself.
    fn introduce(
        &self,
        neighbour: &StaticNeighbour,
    ) -> impl Future<Output = Result<(), BackendError>>;
}
