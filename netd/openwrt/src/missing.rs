//! What a router's daemons have not applied of its configuration. Configured sections may be
//! skipped silently: `fw4` skips a rule that it does not understand, or an interface that it does
//! not know yet, and the kernel a VLAN or a port that does not exist; neither reports it to the
//! client.

use octet_router::openwrt::sections::PREFIX;
use octet_router::openwrt::uci::UciSection;
use serde_json::Value as Json;

use crate::state::LiveState;

/// What differs from `wanted`, our desired sections, one a line.
pub fn missing(wanted: &[UciSection], live: &LiveState) -> Vec<String> {
    let mut found = vec![];
    interfaces(wanted, live, &mut found);
    vlans(wanted, live, &mut found);
    rules(wanted, live, &mut found);
    found
}

fn of<'a>(
    desired: &'a [UciSection],
    config: &str,
    kind: &str,
) -> impl Iterator<Item = &'a UciSection> {
    desired.iter().filter(move |it| (it.config.as_str(), it.kind.as_str()) == (config, kind))
}

fn interfaces(wanted: &[UciSection], live: &LiveState, found: &mut Vec<String>) {
    let all = live.interfaces.as_array().map_or(&[][..], Vec::as_slice);
    let name = |it: &Json| it["interface"].as_str().unwrap_or_default().to_owned();
    let mut names = vec![];
    for section in of(wanted, "network", "interface") {
        let wanted = section.name.clone().unwrap_or_default();
        match all.iter().find(|it| name(it) == wanted) {
            None => found.push(format!("there is no interface {wanted}")),
            Some(it) if it["up"] != true => found.push(format!("interface {wanted} is not up")),
            Some(it) if it["l3_device"].as_str() != section.one("device") => {
                found.push(format!("interface {wanted} is on {}", it["l3_device"]));
            }
            Some(it) => {
                for (key, list) in [("ipaddr", "ipv4-address"), ("ip6addr", "ipv6-address")] {
                    let has = |address: &str| {
                        let list = it[list].as_array().map_or(&[][..], Vec::as_slice);
                        list.iter().any(|it| {
                            let ip = it["address"].as_str().unwrap_or_default();
                            format!("{ip}/{}", it["mask"]) == address
                        })
                    };
                    let missing = section.all(key).filter(|address| !has(address));
                    found.extend(missing.map(|it| format!("interface {wanted} has no {it}")));
                }
            }
        }
        names.push(wanted);
    }
    let old = all.iter().map(name).filter(|it| it.starts_with(PREFIX) && !names.contains(it));
    found.extend(old.map(|it| format!("interface {it} is still there")));
}

fn vlans(wanted: &[UciSection], live: &LiveState, found: &mut Vec<String>) {
    for section in of(wanted, "network", "bridge-vlan") {
        let device = section.one("device").unwrap_or_default();
        let number = section.one("vlan").unwrap_or_default();
        let ports: Vec<_> = section.all("ports").map(|port| port.replace(":u*", ":*")).collect();
        let vlans = live.devices[device]["bridge-vlans"].as_array();
        let vlans = vlans.map_or(&[][..], Vec::as_slice);
        let has = |vlan: &Json| {
            let list = vlan["ports"].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let is_it = |vlan: &&Json| vlan["id"].as_u64() == number.parse().ok();
        match vlans.iter().find(is_it) {
            None => found.push(format!("{device} has no VLAN {number}")),
            Some(vlan) if has(vlan) != ports => {
                let (there, wanted) = (has(vlan).join(" "), ports.join(" "));
                found.push(format!("VLAN {number} of {device} has {there}, not {wanted}"));
            }
            Some(_) => {}
        }
        // None of our ports is in two VLANs.
        let name = |port: &str| port.split(':').next().unwrap_or_default().to_owned();
        for vlan in vlans.iter().filter(|it| !is_it(it)) {
            for port in ports.iter().map(|port| name(port)) {
                if has(vlan).iter().any(|it| name(it) == port) {
                    let other = &vlan["id"];
                    found.push(format!("{port} is in VLAN {other} of {device}, and in {number}"));
                }
            }
        }
    }
}

fn rules(wanted: &[UciSection], live: &LiveState, found: &mut Vec<String>) {
    // A zone has its chains even if none of its interfaces is known, and so does a removed zone.
    let jumps: Vec<(&str, &str)> = live
        .rules
        .lines()
        .filter_map(|line| Some((line.split("jump ").nth(1)?.split_whitespace().next()?, line)))
        .collect();
    for section in of(wanted, "firewall", "zone") {
        let name = section.one("name").unwrap_or_default();
        let mut networks = section.all("network");
        let device = networks.find_map(|name| {
            of(wanted, "network", "interface")
                .find(|it| it.name.as_deref() == Some(name))?
                .one("device")
        });
        let device = device.unwrap_or_default();
        let is_led = |hook: &&str| {
            let (chain, quoted) = (format!("{hook}_{name}"), format!("\"{device}\""));
            jumps.iter().any(|(to, line)| *to == chain && line.contains(&quoted))
        };
        let missing: Vec<_> =
            ["input", "forward", "output"].into_iter().filter(|it| !is_led(it)).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            found.push(format!("the firewall does not have {device} in zone {name} ({missing})"));
        }
    }
    let rules: Vec<_> =
        of(wanted, "firewall", "rule").chain(of(wanted, "firewall", "redirect")).collect();
    let said = |it: &UciSection| it.all("name").collect::<Vec<_>>().join(" ");
    let mut names: Vec<_> = rules.iter().map(|it| said(it)).collect();
    names.sort();
    names.dedup();
    for name in names {
        // Several of our rules may have one name, and one rule may become several in the kernel.
        let wanted = rules.iter().filter(|it| said(it) == name).count();
        let there = live.rules.matches(&format!("\"!fw4: {name}\"")).count();
        if there < wanted {
            found.push(format!("the firewall has {there} of {wanted} rules for `{name}`"));
        }
    }
}
