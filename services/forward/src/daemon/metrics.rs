//! Numbers for whoever collects them.

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

/// The name under which sums are kept.
const SUMS: &str = "sums";

/// For how long an answer is good for others: nft takes its time, and the daemon waits for it.
const FRESH: Duration = Duration::from_secs(1);

/// What there is for them.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    sums: Sums,
    /// What was answered last, and when; `None` if nothing could be read.
    last: Option<(Instant, Option<String>)>,
}

impl Metrics {
    /// With what was kept. What is damaged begins anew.
    pub fn kept(memory: &StateFolder) -> Self {
        let sums = memory.get(SUMS).and_then(|bytes| Sums::from_bytes(&bytes));
        Self { sums: sums.unwrap_or_default(), last: None }
    }

    /// All that is counted is this.
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
    /// Somebody collects the numbers: they are at most [`FRESH`] old.
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
        // Before there are links there is no table either.
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

    /// These are not counted any more: their sums stay, also for the daemon after this one.
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
