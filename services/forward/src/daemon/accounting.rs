//! Accounting: the counters of paths in the kernel, their records once they end, and the sums of links.

use std::io;
use std::time::Instant;

use serde_json::Value;

use super::milliseconds;
use crate::engine::PathCounters;
use crate::kernel::meter::{self, Count, Direction, GateChange, Meter, MeterCounts};
use crate::kernel::{ForwardKernel, KernelError};
use crate::metrics::sums::Sums;
use crate::records::Records;
use crate::state_folder::StateFolder;
use crate::traffic::NeighbourTraffic;

/// The name of the persisted records.
pub(super) const RECORDS: &str = "records";

/// The name of the persisted traffic of neighbours.
pub(super) const TRAFFIC: &str = "traffic";

/// The name of the persisted sums.
const SUMS: &str = "sums";

/// The name of the persisted counters, until paths are taken over.
const COUNTS: &str = "counts";

/// Work that is done in one batch, atomically; the counters are read once.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub gates: Vec<GateChange>,
    pub ended: Vec<PathCounters>,
    /// The names of the state to forget.
    pub forgotten: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Accounting {
    /// The counters of the previous daemon, until its paths are taken over.
    previous: MeterCounts,
    /// The accounting records of ended paths.
    records: Records,
    sums: Sums,
    pub traffic: NeighbourTraffic,
    /// The last answer to a metrics request and its time; `None` if the counters could not be read.
    pub collected: Option<(Instant, Option<String>)>,
}

impl Accounting {
    /// Loads what is persisted. What is damaged is dropped: sums start at zero, the traffic of neighbours begins
    /// another epoch, and the numbers of records still increase, because they follow the clock.
    ///
    /// # Errors
    /// The kernel provides no randomness, or the epoch cannot be persisted.
    pub fn load(state: &StateFolder) -> io::Result<Self> {
        let traffic = match state.get(TRAFFIC).and_then(|it| NeighbourTraffic::from_bytes(&it)) {
            Some(traffic) => traffic,
            None => {
                let new = NeighbourTraffic::new().map_err(io::Error::other)?;
                state.put(TRAFFIC, &new.to_bytes())?;
                new
            }
        };
        let records = state.get(RECORDS).and_then(|bytes| Records::from_bytes(&bytes));
        let sums = state.get(SUMS).and_then(|bytes| Sums::from_bytes(&bytes));
        Ok(Self {
            previous: MeterCounts::new(),
            records: records.unwrap_or_default(),
            sums: sums.unwrap_or_default(),
            traffic,
            collected: None,
        })
    }

    /// Reads the previous daemon's counters before any of its devices is removed. Counting resumes from them,
    /// even if this daemon fails before that.
    pub fn recount(&mut self, state: &StateFolder) -> Result<(), KernelError> {
        self.previous = meter::counts()?;
        let saved = state.get(COUNTS).and_then(|bytes| meter::persisted::from_bytes(&bytes));
        meter::raise(&mut self.previous, &saved.unwrap_or_default());
        self.sums.count(&self.previous);
        state.persist(COUNTS, &meter::persisted::to_bytes(&self.previous))
    }

    /// The count at which a new counter starts: that of the previous daemon.
    pub fn initial_count(&self, meter: &Meter) -> Count {
        self.previous.get(meter).copied().unwrap_or_default()
    }

    /// Forgets the previous daemon's counters, from which all counters continue by now.
    pub fn taken_over(&mut self, state: &StateFolder) -> Result<(), KernelError> {
        self.previous.clear();
        state.erase(COUNTS)
    }

    /// Carries out the batch. The labels of ended paths are removed already, so the counters are final.
    pub async fn commit(
        &mut self,
        due: Due,
        kernel: &ForwardKernel,
        state: &StateFolder,
    ) -> Result<(), KernelError> {
        if !due.ended.is_empty() {
            let mut counts = meter::counts()?;
            meter::raise(&mut counts, &self.previous);
            self.sums.count(&counts);
            for carried in &due.ended {
                self.records.add(carried, &counts, milliseconds());
            }
            self.traffic.end(&due.ended, &counts);
            self.persist_traffic(state)?;
            state.persist(RECORDS, &self.records.to_bytes())?;
        }
        kernel.change(&due.gates).await?;
        if !due.ended.is_empty() {
            let gone = due.gates.iter().filter_map(|gate| match gate {
                GateChange::Remove(meter) => Some(meter),
                _ => None,
            });
            self.add_up(gone, state)?;
        }
        due.forgotten.iter().try_for_each(|name| state.erase(name))?;
        if !due.ended.is_empty() {
            self.traffic.forgotten();
        }
        Ok(())
    }

    /// Adds counters that end to the sums, and persists the sums for the next daemon.
    fn add_up<'a>(
        &mut self,
        gone: impl Iterator<Item = &'a Meter>,
        state: &StateFolder,
    ) -> Result<(), KernelError> {
        for meter in gone {
            self.sums.end(meter);
        }
        state.persist(SUMS, &self.sums.to_bytes())
    }

    /// Persists the traffic of neighbours for the next daemon.
    pub fn persist_traffic(&self, state: &StateFolder) -> Result<(), KernelError> {
        state.persist(TRAFFIC, &self.traffic.to_bytes())
    }

    /// Updates the sums from the current counters.
    pub fn count(&mut self, counts: &MeterCounts) {
        self.sums.count(counts);
    }

    /// What each link has carried.
    pub fn sums(&self) -> Vec<(String, Direction, Count)> {
        self.sums.all()
    }

    /// The records after this number, and the paths that are up.
    pub fn records_json(
        &self,
        after: u64,
        carried: &[PathCounters],
        counts: &MeterCounts,
    ) -> Value {
        self.records.to_json(after, carried, counts)
    }
}
