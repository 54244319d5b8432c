//! Accounting records: the counters of a path are recorded when it ends.

use super::{Daemon, milliseconds};
use crate::engine::PathCounters;
use crate::kernel::KernelError;
use crate::kernel::meter::{self, GateChange};
use crate::memory::StateFolder;
use crate::records::Records;

/// The name of the persisted records.
pub(super) const RECORDS: &str = "records";

/// Loads the persisted records. Damaged records are dropped; numbers still increase, because they follow the
/// clock.
pub(super) fn kept(memory: &StateFolder) -> Records {
    memory.get(RECORDS).and_then(|bytes| Records::from_bytes(&bytes)).unwrap_or_default()
}

/// Work that is done in one batch, atomically; the counters are read once, because nft is slow.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub gates: Vec<GateChange>,
    pub ended: Vec<PathCounters>,
    /// The names of the state to forget.
    pub forgotten: Vec<String>,
}

impl Daemon {
    /// Carries out the batch. The labels of ended paths are removed already, so the counters are final.
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
