//! Ways that nobody has asked for: a program has sent something to a node.

use std::io;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::Daemon;
use crate::desired::DesiredRoute;
use crate::kernel::used;
use octet_node::address::NodeAddress;
use octet_node::say;

/// How many such ways there are at most.
const MAX: usize = 64;

/// For how long a path is looked for after the last packet without one. Programs that mean it send again.
const TIMEOUT: Duration = Duration::from_secs(60);

/// For how long a way stays that no program uses: longer than those are silent who keep a connection that they mean
/// to use. Whoever is silent for longer loses one packet, and a way begins anew; addresses and ports are the same
/// by it.
const IDLE: Duration = Duration::from_secs(600);

/// How often it is looked which ways are used: what the kernel keeps in mind is seen before it is forgotten.
const LOOK: Duration = Duration::from_secs(used::KEPT.as_secs() / 2);

/// Whether a way that begins by itself is over: nobody has wanted it, or used it, for as long as that.
fn is_over(way: &DesiredRoute, now: Instant) -> bool {
    let patience = if way.route.active().is_some() { IDLE } else { TIMEOUT };
    way.wanted.is_some_and(|at| now.saturating_duration_since(at) >= patience)
}

impl Daemon {
    /// Packets were sent to these nodes, and have no way: there is to be one for the next of them.
    pub(super) fn want(&mut self, told: io::Result<Vec<Ipv6Addr>>) {
        // What was too much to be told of is sent again.
        let now = Instant::now();
        for node in told.unwrap_or_default() {
            let Ok(node) = NodeAddress::try_from(node) else { continue };
            if let Some(way) = self.desired.ways.get_mut(&node) {
                way.wanted = way.wanted.map(|_| now);
                continue;
            }
            let known = self.topology.as_ref().is_some_and(|it| it.get(node).is_some());
            let own = self.node().is_some_and(|own| NodeAddress::of(&own) == node);
            let others = self.desired.ways.values().filter(|way| way.wanted.is_some()).count();
            if known && !own && others < MAX && !self.desired.is_requested(node) {
                self.desired.ways.insert(node, DesiredRoute::on_demand(now));
            }
        }
    }

    /// Gives up ways on which nobody insists, and to which there is no path, or that nobody uses any more.
    pub(super) async fn unwant(&mut self, now: Instant) {
        self.look(now).await;
        let over = self.desired.ways.iter().filter(|(_, way)| is_over(way, now));
        for node in over.map(|(node, _)| *node).collect::<Vec<_>>() {
            say!("the way to {node} ends: no program uses it");
            self.end_way(node).await;
        }
    }

    /// Looks which ways that have begun by themselves programs use. Where that is not known they are used.
    async fn look(&mut self, now: Instant) {
        let is_early = |at: Instant| now.saturating_duration_since(at) < LOOK;
        let stands = |way: &DesiredRoute| way.wanted.is_some() && way.route.active().is_some();
        if self.looked.is_some_and(is_early) || !self.desired.ways.values().any(stands) {
            return;
        }
        self.looked = Some(now);
        let used = used::devices().await;
        if let Err(error) = &used {
            say!("{error}");
        }
        for way in self.desired.ways.values_mut() {
            let is_used = used
                .as_ref()
                .map_or(true, |used| way.route.paths().any(|path| used.contains(&path.device())));
            if is_used {
                way.wanted = way.wanted.map(|_| now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PathNumber;
    use crate::routes::NodeRoute;

    /// One that has a path stays for longer; one that somebody has asked for stays.
    #[test]
    fn each_has_its_time() {
        let start = Instant::now();
        let way = |wanted: bool, path: Option<u16>| DesiredRoute {
            wanted: wanted.then_some(start),
            route: NodeRoute::of(true, path.map(PathNumber), None),
            ..DesiredRoute::default()
        };
        let until = |way: DesiredRoute| {
            let ends =
                (0..10_000).find(|second| is_over(&way, start + Duration::from_secs(*second)));
            ends.map(Duration::from_secs)
        };
        assert_eq!(until(way(true, None)), Some(TIMEOUT));
        assert_eq!(until(way(true, Some(3))), Some(IDLE));
        assert_eq!(until(way(false, None)), None);
        assert_eq!(until(way(false, Some(3))), None);
        assert!(LOOK < used::KEPT && used::KEPT + LOOK < IDLE);
    }
}
