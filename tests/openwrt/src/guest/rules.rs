//! Simulates `fw4` with the file `firewall`: the table that it loads, as far as the configurations
//! of a box need it. It was compared with the recorded table of a real router
//! (`dsa_evidence.json`), but for its rate limit of new connections to itself.

use std::fmt::Write;

use octet_openwrt_double::uci::{Package, Section};

/// The beginning of the ruleset, with the default verdicts of zones and of the uplink.
const HEAD: &str = "table inet fw4\ndelete table inet fw4\ntable inet fw4 {\n\
    chain handle_reject { meta l4proto tcp reject with tcp reset; reject with icmpx port-unreachable; }\n";

/// Accepts packets of established flows.
const BEGUN: &str = "ct state established,related accept";

/// ICMP types by name: number and code, for each version of IP that has them.
const ICMP: [(&str, Option<&str>, Option<&str>); 11] = [
    ("echo-request", Some("8"), Some("128")),
    ("echo-reply", Some("0"), Some("129")),
    ("destination-unreachable", Some("3"), Some("1")),
    ("packet-too-big", None, Some("2")),
    ("time-exceeded", Some("11"), Some("3")),
    ("bad-header", None, Some("4/0")),
    ("unknown-header-type", None, Some("4/1")),
    ("router-solicitation", None, Some("133")),
    ("router-advertisement", None, Some("134")),
    ("neighbour-solicitation", None, Some("135")),
    ("neighbour-advertisement", None, Some("136")),
];

/// The script for `nft` that these files result in.
pub fn script(firewall: &Package, network: &Package) -> String {
    let hooks = ["input", "forward", "output"].map(|hook| chains(firewall, network, hook));
    let (mut published, mut masqueraded) = (String::new(), String::new());
    for zone in of(firewall, "zone") {
        let devices = devices(zone, network);
        if devices.is_empty() {
            continue;
        }
        if zone.one("masq") == Some("1") {
            masqueraded += &format!("oifname {{ {devices} }} meta nfproto ipv4 masquerade\n");
        }
        published.extend(redirects(firewall, zone).map(|it| redirect(it, &devices)));
    }
    format!(
        "{HEAD}{}chain dstnat {{ type nat hook prerouting priority dstnat;\n{published}}}\n\
         chain srcnat {{ type nat hook postrouting priority srcnat;\n{masqueraded}}}\n}}\n",
        hooks.concat()
    )
}

/// The chain of a hook, followed by one per zone.
fn chains(firewall: &Package, network: &Package, hook: &str) -> String {
    let default = of(firewall, "defaults").find_map(|it| it.one(hook)).unwrap_or("REJECT");
    let rules = |zone: &str| {
        let rules = of(firewall, "rule").filter(|it| of_hook(it, hook) == Some(zone));
        let line = |rule: &Section| {
            let to = rule.one("dest").filter(|to| hook == "forward" && *to != "*");
            Some(lines(rule, &out(firewall, network, to)?))
        };
        rules.filter_map(line).collect::<String>()
    };
    let side = if hook == "output" { "oifname" } else { "iifname" };
    let mut zones = String::new();
    let mut base = format!("type filter hook {hook} priority filter; policy drop;\n{BEGUN}\n");
    if hook != "forward" {
        base += &format!("{side} lo accept\n");
    }
    base += &rules("*");
    for zone in of(firewall, "zone") {
        let (name, devices) = (zone.one("name").unwrap_or_default(), devices(zone, network));
        let mut chain = rules(name);
        let policy = verdict(zone.one(hook).unwrap_or("DROP"));
        if hook == "forward" {
            let ways = of(firewall, "forwarding").filter(|it| it.one("src") == Some(name));
            let ways = ways.filter_map(|it| out(firewall, network, it.one("dest")));
            chain.extend(ways.map(|to| format!("{to}accept\n")));
            if redirects(firewall, zone).next().is_some() {
                chain += "ct status dnat accept\n";
            }
            // A zone's forwarding policy applies to packets that stay in the zone; others get the
            // default.
            let own = out(firewall, network, Some(name));
            chain.extend(own.map(|own| format!("{own}{policy}\n")));
        } else {
            chain += &policy;
        }
        zones += &format!("chain {hook}_{name} {{\n{chain}\n}}\n");
        if !devices.is_empty() {
            base += &format!("{side} {{ {devices} }} jump {hook}_{name}\n");
        }
    }
    format!("{zones}chain {hook} {{\n{base}{}\n}}\n", verdict(default))
}

fn redirects<'a>(firewall: &'a Package, zone: &'a Section) -> impl Iterator<Item = &'a Section> {
    of(firewall, "redirect").filter(|it| it.one("src") == zone.one("name"))
}

fn of<'a>(package: &'a Package, kind: &'a str) -> impl Iterator<Item = &'a Section> {
    package.sections.iter().filter(move |it| it.kind == kind)
}

/// The zone whose chain of `hook` contains a rule, `*` for the chain of all; `None` if it is for
/// another hook.
fn of_hook<'a>(rule: &'a Section, hook: &str) -> Option<&'a str> {
    let is_disabled = rule.one("enabled") == Some("0");
    match (rule.one("src"), rule.one("dest"), hook) {
        _ if is_disabled => None,
        (Some(src), None, "input") | (Some(src), Some(_), "forward") => Some(src),
        (None, dest, "output") => Some(dest.unwrap_or("*")),
        _ => None,
    }
}

/// The devices of a zone, in the syntax of a set.
fn devices(zone: &Section, network: &Package) -> String {
    let device = |name: &&str| network.section(name).and_then(|it| it.one("device"));
    let mut devices: Vec<&str> = zone.all("network").iter().filter_map(device).collect();
    devices.sort_unstable();
    devices.dedup();
    devices.join(", ")
}

/// Matches packets that leave to this zone; `None` if the zone has no device yet.
fn out(firewall: &Package, network: &Package, zone: Option<&str>) -> Option<String> {
    let Some(name) = zone else { return Some(String::new()) };
    let zone = of(firewall, "zone").find(|it| it.one("name") == Some(name));
    let devices = zone.map(|zone| devices(zone, network)).unwrap_or_default();
    (!devices.is_empty()).then(|| format!("oifname {{ {devices} }} "))
}

fn verdict(target: &str) -> String {
    match target {
        "ACCEPT" => "accept",
        "REJECT" => "jump handle_reject",
        _ => "drop",
    }
    .to_owned()
}

/// A rule, which may become several in the kernel.
fn lines(rule: &Section, to: &str) -> String {
    let family = rule.one("family").unwrap_or("any");
    let mut protocols = rule.all("proto");
    if protocols.is_empty() {
        protocols = vec!["tcp", "udp"];
    }
    let mut lines = String::new();
    for version in ["ipv4", "ipv6"].into_iter().filter(|it| ["any", it].contains(&family)) {
        for protocol in &protocols {
            let Some(what) = what(rule, protocol, version) else { continue };
            let mut line = format!("{to}meta nfproto {version} {what}");
            let keyword = if version == "ipv4" { "ip" } else { "ip6" };
            for (key, side) in [("src_ip", "saddr"), ("dest_ip", "daddr")] {
                if let Some(address) = rule.one(key) {
                    write!(line, "{keyword} {side} {address} ").expect("room");
                }
            }
            if let Some(limit) = rule.one("limit") {
                let limit = limit.replace("/sec", "/second").replace("/secondond", "/second");
                let burst = rule.one("limit_burst").unwrap_or("5");
                write!(line, "limit rate {limit} burst {burst} packets ").expect("room");
            }
            writeln!(lines, "{line}{}", verdict(rule.one("target").unwrap_or("DROP")))
                .expect("room");
        }
    }
    lines
}

/// The part of a rule that matches the protocol; `None` if no packet can match.
fn what(rule: &Section, protocol: &str, version: &str) -> Option<String> {
    let ports = |key, side| match rule.all(key) {
        ports if ports.is_empty() => String::new(),
        ports => format!("{protocol} {side} {{ {} }} ", ports.join(", ")),
    };
    match protocol {
        "all" | "any" => Some(String::new()),
        "tcp" | "udp" => {
            let ports = [ports("src_port", "sport"), ports("dest_port", "dport")].concat();
            Some(format!("meta l4proto {protocol} {ports}"))
        }
        "icmp" => {
            let word = if version == "ipv4" { "icmp" } else { "icmpv6" };
            let types = rule.all("icmp_type");
            let number = |name: &str| match ICMP.iter().find(|it| it.0 == name) {
                Some((_, v4, v6)) => if version == "ipv4" { *v4 } else { *v6 }.map(str::to_owned),
                None => name.starts_with(|it: char| it.is_ascii_digit()).then(|| name.to_owned()),
            };
            let numbers: Vec<String> = types.iter().filter_map(|it| number(it)).collect();
            let pair = |it: &String| {
                let (number, code) = it.split_once('/').unwrap_or((it, "0"));
                format!("{number} . {code}")
            };
            let pairs: Vec<_> = numbers.iter().map(pair).collect();
            match (types.is_empty(), pairs.is_empty()) {
                (true, _) => Some(format!("meta l4proto {word} ")),
                (_, true) => None,
                _ => Some(format!("{word} type . {word} code {{ {} }} ", pairs.join(", "))),
            }
        }
        "igmp" => Some("meta l4proto 2 ".to_owned()),
        number => Some(format!("meta l4proto {number} ")),
    }
}

fn redirect(it: &Section, devices: &str) -> String {
    let mut lines = String::new();
    let [protocol, port, at, target] =
        ["proto", "src_dport", "dest_ip", "dest_port"].map(|key| it.one(key).unwrap_or_default());
    let is_v6 = at.contains(':');
    let (family, keyword) = if is_v6 { ("ipv6", "ip6") } else { ("ipv4", "ip") };
    let at = if is_v6 { format!("[{at}]") } else { at.to_owned() };
    writeln!(
        lines,
        "iifname {{ {devices} }} meta nfproto {family} {protocol} dport {port} dnat {keyword} to {at}:{target}"
    )
    .expect("room");
    lines
}
