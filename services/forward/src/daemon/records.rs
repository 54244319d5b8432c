//! Paths that have ended: what they have carried is kept, and then they are forgotten.

use super::{Daemon, milliseconds};
use crate::engine::PathCounters;
use crate::kernel::KernelError;
use crate::kernel::meter::{self, GateChange};
use crate::memory::StateFolder;
use crate::records::Records;

/// The name under which records are kept.
pub(super) const RECORDS: &str = "records";

/// What is kept of them. What is damaged is none: numbers grow with the clock.
pub(super) fn kept(memory: &StateFolder) -> Records {
    memory.get(RECORDS).and_then(|bytes| Records::from_bytes(&bytes)).unwrap_or_default()
}

/// What is done for all at once: all of it, or nothing, and counts are read once (nft takes its time).
#[derive(Debug, Default)]
pub(super) struct Due {
    pub gates: Vec<GateChange>,
    pub ended: Vec<PathCounters>,
    /// The names of what is kept of them.
    pub forgotten: Vec<String>,
}

impl Daemon {
    /// Does it. Nothing goes on any more with a label of a path that has ended, so what is counted now is all
    /// that it has carried.
    pub(super) async fn settle(&mut self, due: Due) -> Result<(), KernelError> {
        if !due.ended.is_empty() {
            let mut counts = meter::counts().await?;
            meter::raise(&mut counts, &self.counts);
            self.metrics.count(&counts);
            for carried in &due.ended {
                self.records.add(carried, &counts, milliseconds());
            }
            self.remember(RECORDS, &self.records.to_bytes())?;
        }
        self.kernel.change(&due.gates).await?;
        if !due.ended.is_empty() {
            let gone = due.gates.iter().filter_map(|gate| match gate {
                GateChange::Forbid(meter) => Some(meter),
                _ => None,
            });
            self.add_up(gone)?;
        }
        due.forgotten.iter().try_for_each(|name| self.unlearn(name))
    }
}
