//! How long packets are that pass links and paths: each is asked, and routes and tunnels follow.

use std::net::Ipv6Addr;
use std::time::Instant;

use octet_node::address::NodeAddress;
use octet_node::say;

use super::Daemon;
use crate::control::LinkMessage;
use crate::engine::{LinkNumber, PathNumber};
use crate::introduction::Inner;
use crate::kernel::tunnels;
use crate::mtu::{self, Discovery, MIN_OF_PATH};

impl Daemon {
    /// The longest packet that a path takes, as far as that is known.
    pub(super) fn mtu_of(&self, path: PathNumber) -> u16 {
        self.mtus.get(&path).and_then(Discovery::found).unwrap_or(MIN_OF_PATH)
    }

    /// The longest packet that goes to a node by the path that packets to it take.
    pub(super) fn mtu_to(&self, node: NodeAddress) -> u16 {
        self.uses.get(&node.ip()).map_or(MIN_OF_PATH, |path| self.mtu_of(*path))
    }

    /// Asks the neighbour at a link with packets of these lengths, and has the kernel keep to what is found.
    pub(super) async fn discover_link(&mut self, link: LinkNumber, sizes: Vec<u16>) {
        let before = self.open.get(&link).map(|open| open.reach);
        for size in sizes {
            // What is sent is as long as it may be, so that WireGuard adds nothing.
            self.reach(link, size.max(MIN_OF_PATH)).await;
            self.say(link, &LinkMessage::MtuProbe(size)).await;
        }
        let found = self.open.get(&link).and_then(|open| open.mtu.found());
        self.reach(link, found.unwrap_or(mtu::LINK)).await;
        // What paths take that go by it may be other than before.
        if self.open.get(&link).map(|open| open.reach) != before {
            for (path, discovery) in &mut self.mtus {
                if self.engine.link_of(*path) == Some(link) {
                    discovery.again();
                }
            }
        }
    }

    async fn reach(&mut self, link: LinkNumber, mtu: u16) {
        let Some(open) = self.open.get_mut(&link).filter(|open| open.reach != mtu) else { return };
        match self.kernel.reach(open.neighbour.ends, mtu).await {
            Ok(()) => open.reach = mtu,
            Err(error) => say!("{error}"),
        }
    }

    /// Asks the other ends of all paths, those that end here too: each direction has its own way outside.
    pub(super) async fn discover(&mut self, now: Instant) {
        let is_due = |path: &PathNumber| self.mtus.get(path).is_none_or(|it| it.is_due(now));
        for path in self.devices.keys().copied().filter(is_due).collect::<Vec<_>>() {
            if self.engine.stretch(path).is_none_or(|stretch| stretch.node.is_none()) {
                continue;
            }
            // A path whose links have not changed takes what it took.
            if let Some(discovery) = self.mtus.get_mut(&path).filter(|it| it.may_wait(now)) {
                discovery.wait(now);
                continue;
            }
            let before = self.mtus.contains_key(&path).then(|| self.mtu_of(path));
            let sizes = self.mtus.entry(path).or_insert_with(Discovery::of_path).next(now);
            self.follow(path, before).await;
            let Some(to) = self.inner_end(path) else { continue };
            for size in sizes {
                // One that is lost, or that the kernel does not take, says what is asked.
                let _ = self.ends.send_to(&Inner::MtuProbe(size).to_bytes(), to).await;
            }
        }
    }

    /// A packet of this length has come to the other end of a path.
    pub(super) async fn passed(&mut self, path: PathNumber, size: u16) {
        let before = self.mtu_of(path);
        if let Some(discovery) = self.mtus.get_mut(&path) {
            discovery.answered(size);
        }
        self.follow(path, Some(before)).await;
    }

    /// Routes by a path take what it takes, if that is not what it was `before`.
    async fn follow(&mut self, path: PathNumber, before: Option<u16>) {
        if before == Some(self.mtu_of(path)) {
            return;
        }
        let by = self.uses.iter().filter(|(_, used)| **used == path);
        for node in by.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.turn(node, path).await;
        }
    }

    /// Tunnels to a node carry what fits the path to it.
    pub(super) async fn fit_tunnels(&self, node: Ipv6Addr) {
        let Ok(node) = NodeAddress::try_from(node) else { return };
        let leaving = self.leaving.device().filter(|_| self.exit() == Some(node));
        let place = self.places.of(node).map(tunnels::device);
        for name in leaving.into_iter().chain(place) {
            if let Err(error) = self.kernel.fit(&name, self.mtu_to(node)).await {
                say!("{error}");
            }
        }
    }
}
