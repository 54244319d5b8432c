//! Configures links from the membership map and the `[[neighbour]]` sections, and takes over those of a
//! previous daemon.

use std::collections::BTreeSet;

use octet_node::control::PublicKey;
use octet_node::say;

use super::Daemon;
use super::accounting::{Due, RECORDS, TRAFFIC};
use super::actions::meter_of;
use super::announce::Announcements;
use super::exit::Exit;
use super::neighbour_links::Open;
use crate::engine::{EngineAction, LAST_NUMBER, LinkNumber, install};
use crate::kernel::KernelError;
use crate::kernel::labels::OUT;
use crate::kernel::links::{IN, LINKS, Tunnel};
use crate::kernel::meter::{self, Direction, GateChange, Meter};
use crate::kernel::usage;
use crate::neighbour::{self, LinkNeighbour};
use octet_node::address::NodeAddress;

/// The name of this node's persisted keys.
const OWN: &str = "own";

fn name(link: LinkNumber) -> String {
    format!("l-{}", link.0)
}

/// The kernel parameters of a link.
fn tunnel(neighbour: &LinkNeighbour) -> Tunnel {
    let (near, far) = neighbour.ends;
    let LinkNeighbour { link, key, at, plain, .. } = *neighbour;
    Tunnel { name: link.device(), key, at, near, far, plain }
}

/// Whether the link that these persisted bytes describe is unchanged.
fn is_unchanged(wanted: &[LinkNeighbour], link: LinkNumber, bytes: &[u8]) -> bool {
    wanted.iter().any(|neighbour| neighbour.link == link && neighbour.to_bytes() == bytes)
}

impl Daemon {
    /// Creates links to all current neighbours, and removes the others. A new key restarts all links. With the
    /// same key, the links that a previous daemon left in the kernel are taken over.
    pub(super) async fn reconcile_links(&mut self) -> Result<(), KernelError> {
        let Some(own) = &self.identity else { return Ok(()) };
        if !self.are_neighbours_known() {
            return Ok(());
        }
        let statement = own.certificate.body();
        let (node, key) = (statement.node, statement.key);
        let wanted = neighbour::list(self.map.as_ref(), &node, &self.settings);
        let begins = self.links.keys != Some((node, key));
        if begins {
            let secret = own.key.exchange_secret();
            self.prepare_kernel(node, key, secret).await?;
        }
        let there: BTreeSet<_> = self.kernel.devices().await?.into_iter().collect();
        self.remove_links(&wanted).await?;
        let mut made = vec![];
        for neighbour in wanted {
            let link = neighbour.link;
            if self.links.open.contains_key(&link) {
                continue;
            }
            let (saved, device) = (self.state.get(&name(link)), link.device());
            // An unchanged link may be carrying packets: leave it alone.
            let stands = there.contains(&device) && saved.as_ref() == Some(&neighbour.to_bytes());
            if !stands {
                self.kernel.remove(&device).await?;
                self.state.persist(&name(link), &neighbour.to_bytes())?;
                self.kernel.open(&tunnel(&neighbour)).await?;
            }
            made.push(neighbour);
        }
        // All devices are guarded in one run, because each run of nft is slow.
        let links: Vec<_> = made.iter().map(|it| (it.link, it.address())).collect();
        self.guard_links(&links).await?;
        for neighbour in made {
            let link = neighbour.link;
            self.kernel.start(&link.device()).await?;
            self.engine.add_link(link, neighbour.address());
            self.links.open.insert(link, Open::new(neighbour));
        }
        if let Some(topology) = &mut self.announcements.topology {
            let neighbours = self.links.open.values().map(|open| open.neighbour.address());
            topology.set_neighbours(neighbours.collect());
        }
        if begins {
            self.restore_state().await?;
            self.links.keys = Some((node, key));
            // What the paths that were taken over have carried counts, too.
            if self.accounting.traffic.has_limits() {
                let open = self.links.open.iter();
                let links: Vec<_> =
                    open.map(|(link, it)| (*link, it.neighbour.address())).collect();
                self.guard_links(&links).await?;
            }
        }
        Ok(())
    }

    /// Whether the neighbours are known. In a box with boards the map lists them. In other boxes only
    /// `[[neighbour]]` sections do; if there are none, and were none since boot, the kernel is left alone.
    fn are_neighbours_known(&self) -> bool {
        let has_begun = || self.links.keys.is_some() || self.state.get(OWN).is_some();
        match self.settings.has_boards {
            true => self.map.is_some(),
            false => self.map.is_some() || !self.settings.lines.is_empty() || has_begun(),
        }
    }

    /// Prepares the kernel for this node's key. State under another key is removed.
    async fn prepare_kernel(
        &mut self,
        node: PublicKey,
        key: PublicKey,
        secret: [u8; 32],
    ) -> Result<(), KernelError> {
        let own = [&node.as_bytes()[..], key.as_bytes()].concat();
        if self.state.get(OWN).as_ref() != Some(&own) {
            let links: Vec<_> = self.links.open.keys().copied().collect();
            for link in links {
                let actions = self.engine.remove_link(link);
                self.apply(actions).await;
            }
            self.links.open.clear();
            self.exit = Exit::default();
            for device in self.kernel.devices().await? {
                self.kernel.remove(&device).await?;
            }
            for name in self.state.names().unwrap_or_default() {
                if ![RECORDS, LAST_NUMBER, TRAFFIC].contains(&name.as_str()) {
                    self.state.erase(&name)?;
                }
            }
            self.state.persist(OWN, &own)?;
        }
        self.kernel.prepare(secret, neighbour::PORT).await?;
        meter::prepare().await?;
        usage::prepare().await?;
        self.kernel.prepare_private(NodeAddress::of(&node).ip()).await?;
        self.accounting.recount(&self.state)?;
        self.links.previous.extend(self.persisted_links());
        self.kernel.catch_unrouted(NodeAddress::of(&node).ip()).await?;
        say!("this node is {}", NodeAddress::of(&node));
        self.announcements = Announcements::new(NodeAddress::of(&node));
        Ok(())
    }

    /// Removes unwanted links, of this daemon and of the previous one.
    async fn remove_links(&mut self, wanted: &[LinkNeighbour]) -> Result<(), KernelError> {
        let gone = self.links.open.values().filter(|it| !wanted.contains(&it.neighbour));
        let gone: Vec<_> = gone.map(|it| it.neighbour.clone()).collect();
        for neighbour in gone {
            self.links.open.remove(&neighbour.link);
            let actions = self.engine.remove_link(neighbour.link);
            self.apply(actions).await;
            self.state.erase(&name(neighbour.link))?;
            self.kernel.close(&tunnel(&neighbour)).await?;
        }
        for (link, bytes) in self.persisted_links() {
            if is_unchanged(wanted, link, &bytes) {
                continue;
            }
            // Old links are removed before new ones are made, because a key may have moved to another link.
            self.kernel.remove(&link.device()).await?;
            if let Some(key) = neighbour::decode_key(&bytes) {
                self.kernel.forget(key).await?;
            }
            self.state.erase(&name(link))?;
        }
        Ok(())
    }

    /// The persisted links.
    fn persisted_links(&self) -> Vec<(LinkNumber, Vec<u8>)> {
        let names = self.state.names().unwrap_or_default();
        let link = |saved: &String| Some(LinkNumber(saved.strip_prefix("l-")?.parse().ok()?));
        names.iter().filter_map(|saved| Some((link(saved)?, self.state.get(saved)?))).collect()
    }

    /// Takes over the previous daemon's paths: installs what the kernel lacks, and removes what belongs to no
    /// path.
    async fn restore_state(&mut self) -> Result<(), KernelError> {
        let gone = self.links.former();
        for (link, neighbour) in &gone {
            self.engine.add_link(*link, *neighbour);
        }
        for name in self.state.names().unwrap_or_default() {
            let is_engines = name.starts_with("s-") || name.starts_with("p-");
            if !is_engines && name != LAST_NUMBER {
                continue;
            }
            let bytes = self.state.get(&name).unwrap_or_default();
            if !self.engine.restore(&name, &bytes) {
                self.state.erase(&name)?;
            }
        }
        self.end_with(gone).await?;
        let lost = self.engine.drop_lost();
        self.apply(lost).await;
        self.restore_routes();
        let installed = self.engine.installed();
        let counted: BTreeSet<_> = installed.iter().filter_map(meter_of).collect();
        let is_in = |it: &&Meter| it.direction == Direction::In;
        let labels: BTreeSet<_> = counted.iter().filter(is_in).map(|it| it.label).collect();
        self.apply(install(installed).collect()).await;
        self.restore_slots().await;
        self.restore_exit().await;
        let mut known: BTreeSet<_> =
            self.path_ends.devices.keys().map(|number| number.device()).collect();
        known.extend(self.links.open.keys().map(|link| link.device()));
        known.extend(self.exit.devices());
        known.extend([LINKS, IN, OUT].map(str::to_owned));
        for device in self.kernel.devices().await? {
            if !known.contains(&device) {
                self.kernel.remove(&device).await?;
            }
        }
        for label in self.kernel.labels().await? {
            if !labels.contains(&label) {
                self.kernel.remove_label(label).await?;
            }
        }
        let strange = meter::counts()?.into_keys().filter(|it| !counted.contains(it));
        let forbid: Vec<_> = strange.map(GateChange::Remove).collect();
        self.kernel.change(&forbid).await?;
        self.links.previous.clear();
        self.accounting.taken_over(&self.state)?;
        say!(
            "{} paths are still up from the previous process",
            self.engine.transit_count() + self.engine.paths().count()
        );
        Ok(())
    }

    /// Ends the paths over these links. The kernel keeps none of their labels.
    async fn end_with(&mut self, gone: Vec<(LinkNumber, NodeAddress)>) -> Result<(), KernelError> {
        let mut due = Due::default();
        for (link, _) in gone {
            for action in self.engine.remove_link(link) {
                match action {
                    EngineAction::Ended(carried) => due.ended.push(carried),
                    EngineAction::Forget(name) => due.forgotten.push(name),
                    _ => {}
                }
            }
            if let Some(open) = self.links.open.get(&link) {
                self.engine.add_link(link, open.neighbour.address());
            }
        }
        self.commit(due).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour_sections::NeighbourSections;
    use crate::neighbour_sections::tests::section;
    use crate::settings::Settings;
    use octet_node::key::PrivateKey;
    use std::collections::BTreeMap;

    /// A link ends only if its own section is removed or changed.
    #[test]
    fn links_end_with_their_lines() {
        let own = PrivateKey::generate().unwrap().public();
        let wanted = |lines: &[octet_appliance::Neighbour]| {
            let settings =
                Settings { lines: NeighbourSections::new(lines.to_vec()), ..Settings::default() };
            neighbour::list(None, &own, &settings)
        };
        let lines: Vec<_> =
            ["hill", "lake", "wood"].map(|name| section(name, None, Some("203.0.113.7:1"))).into();
        let saved: BTreeMap<_, _> =
            wanted(&lines).iter().map(|it| (it.link, it.to_bytes())).collect();
        let ended = |lines: &[octet_appliance::Neighbour]| -> Vec<NodeAddress> {
            let wanted = wanted(lines);
            let others = saved.iter().filter(|(link, bytes)| !is_unchanged(&wanted, **link, bytes));
            others.filter_map(|(_, bytes)| neighbour::decode_address(bytes)).collect()
        };
        let lake = NodeAddress::of(&lines[1].descriptor.node());
        assert_eq!(saved.len(), 3);
        assert_eq!(ended(&lines), []);
        let mut turned = lines.clone();
        turned.reverse();
        turned.push(section("pond", None, None));
        assert_eq!(ended(&turned), []);
        // The name is not part of the link; the endpoint is.
        let mut other = lines.clone();
        other[1].name = "sea".parse().unwrap();
        assert_eq!(ended(&other), []);
        other[1].at = None;
        assert_eq!(ended(&other), [lake]);
        other.remove(1);
        assert_eq!(ended(&other), [lake]);
        assert_eq!(ended(&[]).len(), 3);
    }
}
