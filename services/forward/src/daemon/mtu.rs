//! MTU discovery for links and paths; routes and tunnels follow the results.

use std::net::Ipv6Addr;
use std::time::Instant;

use octet_node::address::NodeAddress;
use octet_node::say;

use super::Daemon;
use crate::control::LinkMessage;
use crate::engine::{LinkNumber, PathEnd, PathNumber};
use crate::introduction::Inner;
use crate::kernel::tunnels;
use crate::mtu::{self, Discovery, MIN_OF_PATH};

impl Daemon {
    /// The MTU towards a node, over its active path.
    pub(super) fn mtu_to(&self, node: NodeAddress) -> u16 {
        self.routes
            .active_paths
            .get(&node.ip())
            .map_or(MIN_OF_PATH, |path| self.path_ends.mtu_of(*path))
    }

    /// Probes the link to a neighbour with packets of these lengths, and configures the discovered MTU.
    pub(super) async fn discover_link(&mut self, link: LinkNumber, sizes: Vec<u16>) {
        let before = self.links.open.get(&link).map(|open| open.reach);
        for size in sizes {
            // The MTU is raised first, so that WireGuard does not pad the probes.
            self.links.set_mtu(link, size.max(MIN_OF_PATH), &self.kernel).await;
            self.links.send(link, &LinkMessage::MtuProbe(size)).await;
        }
        let found = self.links.open.get(&link).and_then(|open| open.mtu.found());
        self.links.set_mtu(link, found.unwrap_or(mtu::LINK), &self.kernel).await;
        // The MTU of paths over this link may have changed.
        if self.links.open.get(&link).map(|open| open.reach) != before {
            for (path, discovery) in &mut self.path_ends.mtus {
                if self.engine.link_of(*path) == Some(link) {
                    discovery.restart();
                }
            }
        }
    }

    /// Probes the MTU of all paths, those that end here too: the underlay of the two directions may differ.
    pub(super) async fn discover(&mut self, now: Instant) {
        let is_due =
            |path: &PathNumber| self.path_ends.mtus.get(path).is_none_or(|it| it.is_due(now));
        for path in self.path_ends.devices.keys().copied().filter(is_due).collect::<Vec<_>>() {
            let is_known = |path_end: &PathEnd| path_end.node.is_some();
            let is_up = self.engine.path_end(path).is_some_and(is_known);
            // A private path has the MTU that all have, so that nothing of it has to be probed.
            if !is_up || self.engine.is_private(path) {
                continue;
            }
            // The MTU of a path whose links are unchanged is unchanged.
            if let Some(discovery) =
                self.path_ends.mtus.get_mut(&path).filter(|it| it.may_wait(now))
            {
                discovery.wait(now);
                continue;
            }
            let before =
                self.path_ends.mtus.contains_key(&path).then(|| self.path_ends.mtu_of(path));
            let sizes =
                self.path_ends.mtus.entry(path).or_insert_with(Discovery::of_path).due_sizes(now);
            self.apply_mtu(path, before).await;
            let Some(to) = self.path_ends.address(path, &self.engine) else { continue };
            for size in sizes {
                // A probe that is lost, or too long for the kernel, is an answer too.
                self.path_ends.send(&Inner::MtuProbe(size), to).await;
            }
        }
    }

    /// Handles the answer to an MTU probe on a path.
    pub(super) async fn handle_mtu_reply(&mut self, path: PathNumber, size: u16) {
        let before = self.path_ends.mtu_of(path);
        if let Some(discovery) = self.path_ends.mtus.get_mut(&path) {
            discovery.handle_reply(size);
        }
        self.apply_mtu(path, Some(before)).await;
    }

    /// Updates the routes over a path if its MTU is not `before` any more.
    async fn apply_mtu(&mut self, path: PathNumber, before: Option<u16>) {
        if before == Some(self.path_ends.mtu_of(path)) {
            return;
        }
        let by = self.routes.active_paths.iter().filter(|(_, used)| **used == path);
        for node in by.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.route_over(node, path).await;
        }
    }

    /// Adjusts the tunnels to a node to its path MTU.
    pub(super) async fn fit_tunnels(&self, node: Ipv6Addr) {
        let Ok(node) = NodeAddress::try_from(node) else { return };
        let leaving = self.exit.lan_exit.device().filter(|_| self.exit_node() == Some(node));
        let place = self.exit.clients.number_of(node).map(tunnels::device);
        for name in leaving.into_iter().chain(place) {
            if let Err(error) = self.kernel.set_tunnel_mtu(&name, self.mtu_to(node)).await {
                say!("{error}");
            }
        }
    }
}
