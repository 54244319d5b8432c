//! Metrics of this daemon.

use octet_node::metrics::server::MetricSource;
use octet_node::say;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::neighbour_links::Open;
use super::{Daemon, DaemonEvent};
use crate::engine::{PathState, SetupRefusal};
use crate::kernel::KernelError;
use crate::kernel::meter;
use crate::metrics::Snapshot;
use crate::topology::Topology;

/// How long an answer is cached, because reading thousands of counters blocks the daemon.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct MetricsClient(pub UnboundedSender<DaemonEvent>);

impl MetricSource for MetricsClient {
    async fn text(&self) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.0.send(DaemonEvent::CollectMetrics(answer)).ok()?;
        answered.await.ok()?
    }
}

impl Daemon {
    /// Answers a metrics request with data that is at most [`FRESH`] old.
    pub(super) async fn collect(&mut self, answer: oneshot::Sender<Option<String>>) {
        let is_fresh = |at: &Instant| at.elapsed() < FRESH;
        let last = self.accounting.collected.as_ref().filter(|(at, _)| is_fresh(at));
        let text = match last {
            Some((_, text)) => text.clone(),
            None => {
                let text = match self.snapshot() {
                    Ok(snapshot) => snapshot.text(),
                    Err(error) => {
                        say!("{error}");
                        None
                    }
                };
                self.accounting.collected = Some((Instant::now(), text.clone()));
                text
            }
        };
        let _ = answer.send(text);
    }

    fn snapshot(&mut self) -> Result<Snapshot, KernelError> {
        // Before there are links there is no nftables table.
        if self.links.keys.is_some() {
            self.accounting.count(&meter::counts()?);
        }
        let stand = self.engine.paths().filter(|(_, it)| it.state == PathState::Up).count();
        let refused =
            self.engine.refusals().map(|(why, count): (SetupRefusal, u64)| (why.name(), count));
        Ok(Snapshot {
            links: self.links.open.values().map(Open::metrics).collect(),
            carried: self.accounting.sums(),
            nodes: self.announcements.topology.iter().flat_map(Topology::iter).count(),
            paths: (stand, self.engine.paths().count() - stand),
            relayed: self.engine.transit_count(),
            refused: refused.collect(),
        })
    }
}
