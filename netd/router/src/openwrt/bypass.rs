//! The owner's configuration that reaches a board besides our sections: devices and interfaces on
//! its port or its VLAN, zones that would include it, and DHCP for its network. The firewall zone
//! of a board covers only its VLAN's device, so our rules affect none of this.

use std::collections::BTreeMap;

use super::router::OpenwrtRouter;
use super::sections::{network, vlan_device};
use super::uci::UciSection;
use crate::plan::{RouterPlan, RouterSegment};

/// Options that name the devices of a device or an interface: older releases use `ifname` for both,
/// a bond uses `slaves`.
const DEVICES: [&str; 4] = ["device", "ifname", "ports", "slaves"];

/// All of these, one a line.
pub fn bypasses(plan: &RouterPlan, router: &OpenwrtRouter) -> Vec<String> {
    let reach = Reach::of(plan, router);
    let mut found = vec![];
    found.extend(reach.devices());
    found.extend(reach.vlans());
    found.extend(reach.interfaces());
    found.extend(router.owners("firewall", "zone").filter_map(|it| reach.zone(it)));
    found.extend(reach.dhcp());
    found
}

/// Which devices lead to which segments.
struct Reach<'a> {
    plan: &'a RouterPlan,
    router: &'a OpenwrtRouter,
    devices: BTreeMap<String, &'a RouterSegment>,
}

impl<'a> Reach<'a> {
    fn of(plan: &'a RouterPlan, router: &'a OpenwrtRouter) -> Self {
        let mut devices = BTreeMap::new();
        for segment in plan.segments() {
            devices.insert(segment.device.as_str().to_owned(), segment);
            devices.insert(vlan_device(segment, router), segment);
            devices.insert(format!("@{}", network(segment)), segment);
        }
        let mut reach = Self { plan, router, devices };
        // Every device of the owner's that is built on one of these leads there too, and others may
        // be built on it.
        loop {
            let mut more = vec![];
            for section in reach.derived() {
                let parent = parents(section).find_map(|it| reach.routes(&it));
                more.extend(
                    section.one("name").zip(parent).map(|(name, it)| (name.to_owned(), it)),
                );
            }
            for section in router.owners("network", "interface") {
                let parent = parents(section).find_map(|it| reach.routes(&it));
                let name = section.name.as_ref().map(|name| format!("@{name}"));
                more.extend(name.zip(parent));
            }
            more.retain(|(name, _)| !reach.devices.contains_key(name));
            if more.is_empty() {
                return reach;
            }
            reach.devices.extend(more);
        }
    }

    /// The segment that a device leads to. `lan1.20` is a VLAN of `lan1`, whether there is a
    /// section for it or not.
    fn routes(&self, device: &str) -> Option<&'a RouterSegment> {
        if let Some(segment) = self.devices.get(device) {
            return Some(segment);
        }
        let (base, vlan) = device.rsplit_once('.')?;
        vlan.parse::<u16>().ok().and_then(|_| self.routes(base))
    }

    /// The owner's devices that are built on others, except the switch.
    fn derived(&self) -> impl Iterator<Item = &'a UciSection> {
        let bridge = &self.router.bridge;
        let all = self.router.owners("network", "device");
        all.filter(move |it| it.one("name") != Some(bridge))
    }

    fn devices(&self) -> Vec<String> {
        let mut found = vec![];
        for section in self.router.owners("network", "device") {
            let name = section.one("name");
            // The bridge of the switch contains the ports themselves.
            let is_port = |it: &str| {
                name == Some(&self.router.bridge)
                    && self.plan.segments().any(|port| port.device.as_str() == it)
            };
            // LuCI may write a section for our own VLAN device: it is no other device.
            let is_itself = |it: &str| name == Some(it);
            for parent in parents(section).filter(|it| !is_port(it) && !is_itself(it)) {
                found.extend(self.has(section, &parent));
            }
        }
        found
    }

    fn vlans(&self) -> Vec<String> {
        let mut found = vec![];
        for section in self.router.owners("network", "bridge-vlan") {
            for port in section.all("ports").filter_map(|it| it.split(':').next()) {
                let is_port = self.plan.segments().any(|it| it.device.as_str() == port);
                // The bridge of the switch is reported with the changes.
                if !is_port || section.one("device") != Some(&self.router.bridge) {
                    found.extend(self.has(section, port));
                }
            }
        }
        found
    }

    fn has(&self, section: &UciSection, device: &str) -> Option<String> {
        let (label, zone) = (self.router.label(section), self.routes(device)?.zone);
        Some(format!("{label} has {device}, which leads to {zone}: take it out"))
    }

    fn interfaces(&self) -> Vec<String> {
        let mut found = vec![];
        for section in self.router.owners("network", "interface") {
            let label = self.router.label(section);
            for device in parents(section) {
                found.extend(self.routes(&device).map(|it| {
                    let zone = it.zone;
                    format!(
                        "{label} is on {device}, which leads to {zone}: put it on another device"
                    )
                }));
            }
            found.extend(self.networks(section, "network"));
        }
        found
    }

    fn dhcp(&self) -> Vec<String> {
        let sections = ["dhcp", "relay"].into_iter().flat_map(|it| self.router.owners("dhcp", it));
        sections.flat_map(|it| self.networks(it, "interface")).collect()
    }

    /// Our networks that an option names.
    fn networks(&self, section: &UciSection, option: &str) -> Vec<String> {
        let label = self.router.label(section);
        let verb = if option == "interface" { "is about" } else { "has" };
        let of = |name: &str| self.plan.segments().find(|it| network(it) == name);
        let all = section.all(option).filter_map(|name| Some((name, of(name)?.zone)));
        all.map(|(name, zone)| format!("{label} {verb} {name}, the network of {zone}: take it out"))
            .collect()
    }

    /// Why a device in a segment may be in a zone of the owner's (fw4, `parse_zone`): networks and
    /// devices without `!` are included, those with `!` are excluded from them, and so are
    /// addresses outside of `subnet`.
    fn zone(&self, section: &UciSection) -> Option<String> {
        if section.one("enabled") == Some("0") {
            return None;
        }
        let label = self.router.label(section);
        let is_in = |it: &&str| !it.is_empty() && !it.starts_with('!');
        let words = |option| -> Vec<&str> {
            let all = section.all(option).collect::<Vec<_>>();
            // `!` may be a word of its own.
            let after_not = |at: usize| at > 0 && all[at - 1] == "!";
            (0..all.len()).filter(|at| !after_not(*at)).map(|at| all[at]).collect()
        };
        let (networks, devices) = (words("network"), words("device"));
        for device in devices.iter().filter(|it| is_in(it)) {
            let found = match device.strip_suffix('+') {
                Some(begin) if !begin.is_empty() => {
                    let of_name = self.devices.iter().find(|(name, _)| name.starts_with(begin));
                    of_name.map(|(_, it)| *it).or_else(|| self.routes(begin.trim_end_matches('.')))
                }
                _ => self.routes(device),
            };
            if let Some(segment) = found {
                let zone = segment.zone;
                return Some(format!(
                    "{label} has device {device}, which leads to {zone}: take it out"
                ));
            }
        }
        // A device pattern that matches all names is ignored.
        let names = |it: &&&str| is_in(it) && !["+", "*"].contains(*it);
        if networks.iter().chain(&devices).any(|it| names(&it)) {
            return None;
        }
        if section.all("subnet").next().is_some() {
            return Some(format!(
                "{label} goes by `subnet` alone, and a board can send from any address: name its network or its device, too"
            ));
        }
        let says = !networks.is_empty() || !devices.is_empty();
        says.then(|| {
            format!("{label} has every device that it does not rule out: name those that it is for")
        })
    }
}

/// The devices that a section is built on; a VLAN is built on its base device.
fn parents(section: &UciSection) -> impl Iterator<Item = String> {
    let vlan = section.one("ifname").zip(section.one("vid"));
    let vlan = vlan.map(|(device, vid)| format!("{device}.{vid}"));
    let all = DEVICES.iter().flat_map(|option| section.all(option)).map(str::to_owned);
    vlan.into_iter().chain(all)
}
