//! Routes on demand: they start when a program sends a packet to a node without a route.

use std::io;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::Daemon;
use super::routes::Routes;
use crate::desired::DesiredRoute;
use crate::kernel::usage;
use octet_node::address::NodeAddress;
use octet_node::say;

/// The maximum number of on-demand routes.
const MAX: usize = 64;

/// How long a path is searched after the last packet. Programs retransmit if they still need it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long an unused on-demand route is kept. Idle connections that are still in use are silent for less than
/// this. After it, one packet is lost and the route starts anew; addresses and ports stay the same.
const IDLE: Duration = Duration::from_secs(600);

/// The interval at which use is checked: shorter than the kernel's memory of it.
const CHECK_INTERVAL: Duration = Duration::from_secs(usage::USE_TIMEOUT.as_secs() / 2);

/// Whether an on-demand route has been unused for its timeout.
fn is_expired(entry: &DesiredRoute, now: Instant) -> bool {
    let patience = if entry.route.active().is_some() { IDLE } else { TIMEOUT };
    entry.last_use.is_some_and(|at| now.saturating_duration_since(at) >= patience)
}

impl Daemon {
    /// Handles destinations of packets without a route: starts a route, so that the next packet has one.
    pub(super) fn start_on_demand(&mut self, destinations: io::Result<Vec<Ipv6Addr>>) {
        // A destination that was lost in an overflow is reported again with the next packet.
        let now = Instant::now();
        for node in destinations.unwrap_or_default() {
            let Ok(node) = NodeAddress::try_from(node) else { continue };
            if let Some(entry) = self.routes.desired.routes.get_mut(&node) {
                entry.last_use = entry.last_use.map(|_| now);
                continue;
            }
            let known =
                self.announcements.topology.as_ref().is_some_and(|it| it.get(node).is_some());
            let own = self.node().is_some_and(|own| NodeAddress::of(&own) == node);
            let others = self
                .routes
                .desired
                .routes
                .values()
                .filter(|entry| entry.last_use.is_some())
                .count();
            if known && !own && others < MAX && !self.routes.desired.is_requested(node) {
                self.routes.desired.routes.insert(node, DesiredRoute::on_demand(now));
            }
        }
    }

    /// Drops on-demand routes without a path, or unused ones.
    pub(super) async fn end_unused(&mut self, now: Instant) {
        self.routes.check_usage(now).await;
        for node in self.routes.unused(now) {
            say!("the path to {node} ends: no program uses it");
            self.end_route(node).await;
        }
    }
}

impl Routes {
    /// The on-demand routes that are over.
    fn unused(&self, now: Instant) -> Vec<NodeAddress> {
        let over = self.desired.routes.iter().filter(|(_, entry)| is_expired(entry, now));
        over.map(|(node, _)| *node).collect()
    }

    /// Checks which on-demand routes are used. If that is unknown, they count as used.
    async fn check_usage(&mut self, now: Instant) {
        let is_early = |at: Instant| now.saturating_duration_since(at) < CHECK_INTERVAL;
        let stands =
            |entry: &DesiredRoute| entry.last_use.is_some() && entry.route.active().is_some();
        if self.usage_checked.is_some_and(is_early) || !self.desired.routes.values().any(stands) {
            return;
        }
        self.usage_checked = Some(now);
        let used = usage::devices().await;
        if let Err(error) = &used {
            say!("{error}");
        }
        for entry in self.desired.routes.values_mut() {
            let is_used = used
                .as_ref()
                .map_or(true, |used| entry.route.paths().any(|path| used.contains(&path.device())));
            if is_used {
                entry.last_use = entry.last_use.map(|_| now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PathNumber;
    use crate::routes::NodeRoute;

    /// A route with a path is kept for longer; an explicitly requested route is kept forever.
    #[test]
    fn each_has_its_time() {
        let start = Instant::now();
        let entry = |wanted: bool, path: Option<u16>| DesiredRoute {
            last_use: wanted.then_some(start),
            route: NodeRoute::restored(true, path.map(PathNumber), None),
            ..DesiredRoute::default()
        };
        let until = |entry: DesiredRoute| {
            let ends =
                (0..10_000).find(|second| is_expired(&entry, start + Duration::from_secs(*second)));
            ends.map(Duration::from_secs)
        };
        assert_eq!(until(entry(true, None)), Some(TIMEOUT));
        assert_eq!(until(entry(true, Some(3))), Some(IDLE));
        assert_eq!(until(entry(false, None)), None);
        assert_eq!(until(entry(false, Some(3))), None);
        assert!(CHECK_INTERVAL < usage::USE_TIMEOUT && usage::USE_TIMEOUT + CHECK_INTERVAL < IDLE);
    }
}
