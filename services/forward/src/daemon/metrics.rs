//! Metrics of this daemon.

use octet_node::metrics::server::MetricSource;
use octet_node::say;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::{Daemon, DaemonEvent};
use crate::engine::{PathState, SetupRefusal};
use crate::kernel::KernelError;
use crate::kernel::meter::{self, Meter, MeterCounts};
use crate::memory::StateFolder;
use crate::metrics::sums::Sums;
use crate::metrics::{LinkMetrics, Snapshot};
use crate::topology::Topology;

/// The name of the persisted sums.
const SUMS: &str = "sums";

/// How long an answer is cached, because nft is slow and blocks the daemon.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Metrics {
    sums: Sums,
    /// The last answer and its time; `None` if the counters could not be read.
    last: Option<(Instant, Option<String>)>,
}

impl Metrics {
    /// Loads the persisted sums. Damaged sums start at zero.
    pub fn kept(memory: &StateFolder) -> Self {
        let sums = memory.get(SUMS).and_then(|bytes| Sums::from_bytes(&bytes));
        Self { sums: sums.unwrap_or_default(), last: None }
    }

    /// Updates the sums from the current counters.
    pub fn count(&mut self, counts: &MeterCounts) {
        self.sums.count(counts);
    }
}

#[derive(Debug, Clone)]
pub struct MetricsClient(pub UnboundedSender<DaemonEvent>);

impl MetricSource for MetricsClient {
    async fn text(&self) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.0.send(DaemonEvent::Collected(answer)).ok()?;
        answered.await.ok()?
    }
}

impl Daemon {
    /// Answers a metrics request with data that is at most [`FRESH`] old.
    pub(super) async fn collect(&mut self, answer: oneshot::Sender<Option<String>>) {
        let is_fresh = |at: &Instant| at.elapsed() < FRESH;
        let last = self.metrics.last.as_ref().filter(|(at, _)| is_fresh(at));
        let text = match last {
            Some((_, text)) => text.clone(),
            None => {
                let text = match self.snapshot().await {
                    Ok(snapshot) => snapshot.text(),
                    Err(error) => {
                        say!("{error}");
                        None
                    }
                };
                self.metrics.last = Some((Instant::now(), text.clone()));
                text
            }
        };
        let _ = answer.send(text);
    }

    async fn snapshot(&mut self) -> Result<Snapshot, KernelError> {
        // Before there are links there is no nftables table.
        if self.linked_as.is_some() {
            self.metrics.sums.count(&meter::counts().await?);
        }
        let links = self.open.values().map(|open| LinkMetrics {
            name: open.neighbour.link.device(),
            by: if open.neighbour.plain.is_some() { "plain" } else { "wireguard" },
            quality: open.probes.quality(),
            kilobits: open.trains.capacity(),
        });
        let stand = self.engine.paths().filter(|(_, it)| it.state == PathState::Stands).count();
        let refused =
            self.engine.refusals().map(|(why, count): (SetupRefusal, u64)| (why.name(), count));
        Ok(Snapshot {
            links: links.collect(),
            carried: self.metrics.sums.all(),
            nodes: self.topology.iter().flat_map(Topology::iter).count(),
            paths: (stand, self.engine.paths().count() - stand),
            relayed: self.engine.relayed(),
            refused: refused.collect(),
        })
    }

    /// Adds counters that end to the sums, and persists the sums for the next daemon.
    pub(super) fn add_up<'a>(
        &mut self,
        gone: impl Iterator<Item = &'a Meter>,
    ) -> Result<(), KernelError> {
        for meter in gone {
            self.metrics.sums.end(meter);
        }
        self.remember(SUMS, &self.metrics.sums.to_bytes())
    }
}
