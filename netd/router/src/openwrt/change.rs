//! The changes that lead from a router's current state to the plan, and the owner's sections that
//! conflict with it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::bypass::bypasses;
use super::router::{OpenwrtRouter, is_ours};
use super::sections::{OTHERS, VLANS, network, sections, zone};
use super::uci::{UciSection, Value, quoted};
use crate::plan::RouterPlan;

/// The changes to a router.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UciChange {
    /// The owner's sections that he has to change before anything is applied.
    pub conflicts: Vec<String>,
    /// The owner's sections that allow more than the plan does.
    pub owner_rules: Vec<String>,
    /// The owner's settings that have to change for everything to work. They are his, and do not
    /// block the change.
    pub needs: Vec<String>,
    /// Our networks that are missing in some of the files.
    pub half: Vec<String>,
    /// Added, changed and removed sections, one a line.
    pub lines: Vec<String>,
    /// Removed sections, as file and name; a changed section is removed first, too. Empty as long
    /// as there are conflicts.
    pub gone: Vec<(String, String)>,
    pub made: Vec<UciSection>,
    /// The changes as commands for `uci batch`.
    pub commands: Vec<String>,
}

impl UciChange {
    /// What makes `router` so that it is what `plan` says.
    pub fn of(plan: &RouterPlan, router: &OpenwrtRouter) -> Self {
        let change = Self::between(&router.sections, &sections(plan, router));
        let (conflicts, owner_rules, needs) =
            (conflicts(plan, router), owner_rules(plan, router), needs(plan, router));
        let half = half(router);
        match conflicts.is_empty() {
            true => Self { owner_rules, needs, half, ..change },
            false => {
                let lines = change.lines;
                Self { conflicts, owner_rules, needs, half, lines, ..Self::default() }
            }
        }
    }

    /// What takes away all that is ours of what a router has.
    pub fn removal(there: &[UciSection]) -> Self {
        Self::between(there, &[])
    }

    /// What makes our sections of those that are `there` the `wanted` ones.
    fn between(there: &[UciSection], wanted: &[UciSection]) -> Self {
        let ours = || there.iter().filter(|it| is_ours(it));
        let mut change = Self::default();
        for old in ours() {
            let Some(name) = &old.name else { continue };
            let new =
                wanted.iter().find(|new| (&new.config, &new.name) == (&old.config, &old.name));
            if new.is_some_and(|new| is_same(new, old)) {
                continue;
            }
            if new.is_none() {
                change.lines.push(format!("- {}", old.label()));
            }
            change.gone.push((old.config.clone(), name.clone()));
        }
        for new in wanted {
            let old = ours().find(|old| (&new.config, &new.name) == (&old.config, &old.name));
            if old.is_some_and(|old| is_same(new, old)) {
                continue;
            }
            let sign = if old.is_some() { '~' } else { '+' };
            change.lines.push(format!("{sign} {}: {}", new.label(), options(new)));
            change.made.push(new.clone());
        }
        let delete = |(config, name): &(String, String)| format!("delete {config}.{name}");
        change.commands = change.gone.iter().map(delete).collect();
        change.commands.extend(change.made.iter().flat_map(set));
        let commit = |config: &&str| format!("commit {config}");
        let commits: Vec<_> = change.configs().iter().map(commit).collect();
        change.commands.extend(commits);
        change
    }

    /// The files that are changed.
    pub fn configs(&self) -> Vec<&str> {
        let made = self.made.iter().map(|it| it.config.as_str());
        let mut configs: Vec<_> =
            self.gone.iter().map(|(config, _)| config.as_str()).chain(made).collect();
        configs.sort_unstable();
        configs.dedup();
        configs
    }

    /// The whole report for people.
    pub fn report(&self, router: &OpenwrtRouter) -> Vec<String> {
        let mut report =
            vec![format!("{}: the boards' ports are of `{}`", router.model, router.bridge)];
        let mut list = |title: &str, lines: &[String]| {
            if !lines.is_empty() {
                report.extend([String::new(), title.to_owned()]);
                report.extend(lines.iter().map(|line| format!("  {line}")));
            }
        };
        list("Conflicts, for you to resolve first:", &self.conflicts);
        list("An incomplete change, as after a power cut; apply completes it:", &self.half);
        list("Your own rules that allow what the plan does not:", &self.owner_rules);
        list("Your own settings that the box needs otherwise:", &self.needs);
        list("Added (+), changed (~), deleted (-):", &self.lines);
        let is_ours = |config: &str| router.ours().any(|it| it.config == config);
        let new: Vec<_> = self.configs().into_iter().filter(|it| !is_ours(it)).collect();
        if !new.is_empty() {
            let files = new.join(", /etc/config/");
            list(
                "Comments do not stay, since UCI writes files anew; copy what you want to keep:",
                &[format!("/etc/config/{files}")],
            );
        }
        if self.conflicts.is_empty() && self.lines.is_empty() {
            report.push("Nothing is to be changed".to_owned());
        }
        report
    }
}

/// Which files have one of our networks, where not all have it: every plan puts it in all of them,
/// but the router writes one file after the other.
fn half(router: &OpenwrtRouter) -> Vec<String> {
    let ours = |config: &'static str, kind: &'static str| {
        router.ours().filter(move |it| it.config == config && it.kind == kind)
    };
    let names = |config, kind| ours(config, kind).filter_map(|it| it.name.as_deref());
    let zones = ours("firewall", "zone").flat_map(|it| it.all("network"));
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    names("dhcp", "dhcp").for_each(|it| files.entry(it).or_default().push("`dhcp`"));
    zones.for_each(|it| files.entry(it).or_default().push("`firewall`"));
    names("network", "interface").for_each(|it| files.entry(it).or_default().push("`network`"));
    let mut half: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (name, files) in files.into_iter().filter(|(_, files)| files.len() < 3) {
        half.entry(files).or_default().push(name);
    }
    let line = |(files, names): (Vec<&str>, Vec<&str>)| {
        let verb = if files.len() == 1 { "has" } else { "have" };
        format!("{} {verb} {}", files.join(" and "), names.join(", "))
    };
    half.into_iter().map(line).collect()
}

/// Whether both sections are equal. The router does not keep the order of options.
fn is_same(new: &UciSection, old: &UciSection) -> bool {
    let sorted = |section: &UciSection| {
        let mut options = section.options.clone();
        options.sort_by(|(a, _), (b, _)| a.cmp(b));
        options
    };
    new.kind == old.kind && sorted(new) == sorted(old)
}

/// The options of a section, in one line.
fn options(section: &UciSection) -> String {
    let option = |(key, value): &(String, Value)| match value {
        Value::One(value) => format!("{key} {value}"),
        Value::List(values) => format!("{key} {}", values.join(" ")),
    };
    section.options.iter().map(option).collect::<Vec<_>>().join(", ")
}

fn set(section: &UciSection) -> Vec<String> {
    let path = format!("{}.{}", section.config, section.name.as_deref().unwrap_or_default());
    let mut commands = vec![format!("set {path}={}", section.kind)];
    for (key, value) in &section.options {
        match value {
            Value::One(value) => commands.push(format!("set {path}.{key}={}", quoted(value))),
            Value::List(values) => commands.extend(
                values.iter().map(|value| format!("add_list {path}.{key}={}", quoted(value))),
            ),
        }
    }
    commands
}

/// The owner's sections that conflict with ours.
fn conflicts(plan: &RouterPlan, router: &OpenwrtRouter) -> Vec<String> {
    let mut found = vec![];
    for vlan in router.owners("network", "bridge-vlan") {
        if vlan.one("device") != Some(&router.bridge) {
            continue;
        }
        let number: Option<u16> = vlan.one("vlan").and_then(|number| number.parse().ok());
        for segment in plan.segments() {
            let is_port = |port: &str| port.split(':').next() == Some(segment.device.as_str());
            if vlan.all("ports").any(is_port) {
                found.push(format!(
                    "{} has port {}, where {} is to be alone: take it out of that VLAN",
                    router.label(vlan),
                    segment.device,
                    segment.zone
                ));
            }
            if number == Some(VLANS + u16::from(segment.number)) {
                found.push(format!(
                    "{} has number {}, which is that of {}: give it another",
                    router.label(vlan),
                    VLANS + u16::from(segment.number),
                    segment.zone
                ));
            }
        }
    }
    for interface in router.owners("network", "interface") {
        if interface.one("device") == Some(&router.bridge) {
            let others = match &router.others[..] {
                [] => "no port is left for it".to_owned(),
                ports => format!("it keeps {}", ports.join(", ")),
            };
            found.push(format!(
                "{} is on the whole switch, which gets VLANs: say `option device '{}.{OTHERS}'` there ({others})",
                router.label(interface),
                router.bridge
            ));
        }
        for address in interface.all("ipaddr").chain(interface.all("ip6addr")) {
            let ip = address.split('/').next().and_then(|ip| ip.parse().ok());
            let is_ours = ip.is_some_and(|ip| match ip {
                IpAddr::V4(ip) => plan.network.contains(ip),
                IpAddr::V6(ip) => plan.network6.contains(ip),
            });
            if is_ours {
                found.push(format!(
                    "{} has {address}, an address of the box: change it, or `[cluster] network`",
                    router.label(interface)
                ));
            }
        }
    }
    let zones: Vec<_> = plan.segments().map(|it| zone(it.zone, router)).collect();
    for it in router.owners("firewall", "zone") {
        if it.one("name").is_some_and(|name| zones.iter().any(|zone| zone == name)) {
            found.push(format!("{} has the name of a zone of ours: rename it", router.label(it)));
        }
        let ours = it.all("network").find(|name| router_has(plan, name));
        if let Some(network) = ours {
            let label = router.label(it);
            found.push(format!("{label} has {network}, which has a zone of its own: take it out"));
        }
    }
    for it in router.owners("firewall", "defaults") {
        // fw4 accepts abbreviations.
        let accepts = |option| {
            let word = it.one(option).unwrap_or_default().to_lowercase();
            !word.is_empty() && "accept".starts_with(&word)
        };
        let label = router.label(it);
        // `forward` of a zone concerns traffic between its own interfaces.
        if accepts("forward") {
            found.push(format!(
                "{label} lets pass whatever no rule is about, between boards, too: say `option forward 'REJECT'` there"
            ));
        }
        // A board is in this position until the firewall knows its interface.
        if accepts("input") {
            found.push(format!(
                "{label} takes in whatever is in no zone, as a board is for a while: say `option input 'REJECT'` there"
            ));
        }
    }
    found.extend(bypasses(plan, router));
    found
}

/// Whether a network of this name is one of ours.
fn router_has(plan: &RouterPlan, name: &str) -> bool {
    plan.segments().any(|segment| network(segment) == name)
}

/// The owner's rules that allow traffic to or from our zones, or all zones.
fn owner_rules(plan: &RouterPlan, router: &OpenwrtRouter) -> Vec<String> {
    let zones: Vec<_> = plan.segments().map(|it| zone(it.zone, router)).collect();
    let is_ours = |name: Option<&str>| {
        name.is_some_and(|name| name == "*" || zones.iter().any(|zone| zone == name))
    };
    let mut found = vec![];
    for kind in ["rule", "forwarding", "redirect", "include"] {
        for it in router.owners("firewall", kind) {
            let is_off = it.one("enabled") == Some("0");
            let denies = matches!(it.one("target"), Some("DROP" | "REJECT"));
            // Whether an included file changes the firewall cannot be told from here.
            let is_about = kind == "include" || is_ours(it.one("src")) || is_ours(it.one("dest"));
            if !is_off && !denies && is_about {
                found.push(format!("{}: {}", router.label(it), options(it)));
            }
        }
    }
    found
}

/// What the owner's services have to do for boards. Nothing is said about a file that was not read.
fn needs(plan: &RouterPlan, router: &OpenwrtRouter) -> Vec<String> {
    let is_read = router.sections.iter().any(|it| it.config == "system");
    let serves = |it: &UciSection| it.one("enable_server") == Some("1");
    let mut found = vec![];
    if is_read && !router.owners("system", "timeserver").any(serves) {
        found.push(
            "boards ask the router for the time, and it does not answer: `uci set system.ntp.enable_server=1`, \
             `uci commit system`, `/etc/init.d/sysntpd restart`"
                .to_owned(),
        );
    }
    found.extend(unanswered(plan, router));
    found
}

/// DHCP and DNS servers that answer only on the networks they name, which lack some of ours, unless
/// another server answers there.
fn unanswered(plan: &RouterPlan, router: &OpenwrtRouter) -> Vec<String> {
    let mut found = vec![];
    for it in router.owners("dhcp", "dnsmasq") {
        let (only, not): (Vec<_>, Vec<_>) =
            (it.all("interface").collect(), it.all("notinterface").collect());
        let is_left_out = |name: &String| {
            !only.is_empty() && !only.contains(&name.as_str()) || not.contains(&name.as_str())
        };
        let left_out: Vec<_> = plan.segments().map(network).filter(is_left_out).collect();
        if left_out.is_empty() {
            return vec![];
        }
        found.push(format!(
            "{} does not answer at all networks of the box, and not at {}: say so in its lists `interface` and `notinterface`",
            router.label(it),
            left_out.join(", ")
        ));
    }
    found
}
