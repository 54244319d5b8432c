//! Simulates `fw4 check`, and the resulting rules: a rule with an unknown part is left out, with a
//! warning.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::router::Router;
use crate::uci::{Package, Section};

const TARGETS: [&str; 6] = ["ACCEPT", "DROP", "REJECT", "DNAT", "MARK", "NOTRACK"];
const OPTIONS: &str = "name src src_ip src_port dest dest_ip dest_port proto icmp_type family target limit limit_burst \
    enabled src_mac src_dport reflection";

/// Runs a program that the adapter's login may run.
pub(crate) fn run(router: &Router, line: &str) -> Value {
    if line.starts_with("/sbin/fw4") {
        let warnings = warnings(&router.files["firewall"]);
        let mut json = json!({ "code": 0, "stdout": "Ruleset passes nftables check.\n" });
        if !warnings.is_empty() {
            json["stderr"] = json!(warnings.concat());
        }
        return json;
    }
    json!({ "code": 0, "stdout": rules(router) })
}

/// The names of the zones in a file.
pub(crate) fn zones(package: &Package) -> impl Iterator<Item = &str> {
    package.sections.iter().filter(|it| it.kind == "zone").filter_map(|it| it.one("name"))
}

fn rules_of(package: &Package) -> impl Iterator<Item = &Section> {
    package.sections.iter().filter(|it| ["rule", "redirect"].contains(&it.kind.as_str()))
}

/// The options of a rule that are invalid, with the reason as `fw4` prints it.
fn mistakes<'a>(package: &Package, rule: &'a Section) -> Vec<(&'static str, &'a str)> {
    let is_zone = |name: &str| {
        name == "*"
            || package.sections.iter().any(|it| it.kind == "zone" && it.one("name") == Some(name))
    };
    let is_address =
        |text: &str| text.split('/').next().is_some_and(|it| it.parse::<IpAddr>().is_ok());
    let is_port = |text: &str| text.split('-').all(|it| it.parse::<u16>().is_ok());
    let mut wrong = vec![];
    for (option, is_right) in [
        ("src", &is_zone as &dyn Fn(&str) -> bool),
        ("dest", &is_zone),
        ("src_ip", &is_address),
        ("dest_ip", &is_address),
        ("dest_port", &is_port),
        ("target", &|text| TARGETS.contains(&text)),
    ] {
        wrong
            .extend(rule.all(option).into_iter().filter(|it| !is_right(it)).map(|it| (option, it)));
    }
    wrong
}

fn warnings(package: &Package) -> Vec<String> {
    let mut warnings = vec![];
    for rule in rules_of(package) {
        let who = format!("[!] Section {} ({})", rule.name, rule.one("name").unwrap_or_default());
        let wrong = mistakes(package, rule);
        for (option, value) in &wrong {
            warnings.push(format!("{who} option '{option}' specifies invalid value '{value}'\n"));
        }
        if !wrong.is_empty() {
            warnings.push(format!("{who} skipped due to invalid options\n"));
        }
        for (option, _) in &rule.options {
            if !OPTIONS.split_whitespace().any(|it| it == option) {
                warnings.push(format!("{who} specifies unknown option '{option}'\n"));
            }
        }
    }
    warnings
}

/// The rules in force, as far as names and zones are concerned.
fn rules(router: &Router) -> String {
    let package = &router.running["firewall"];
    let mut text = "table inet fw4 {\n".to_owned();
    for (hook, side) in [("input", "iifname"), ("forward", "iifname"), ("output", "oifname")] {
        text += &format!("\tchain {hook} {{\n");
        for zone in package.sections.iter().filter(|it| it.kind == "zone") {
            let device = |name: &&str| router.known.section(name).and_then(|it| it.one("device"));
            let devices: Vec<_> = zone.all("network").iter().filter_map(device).collect();
            let devices = match devices[..] {
                // An interface that does not exist has no device.
                [] => continue,
                [device] => format!("\"{device}\""),
                _ => format!("{{ \"{}\" }}", devices.join("\", \"")),
            };
            let name = zone.one("name").unwrap_or_default();
            text += &format!(
                "\t\t{side} {devices} jump {hook}_{name} comment \"!fw4: Handle {name} IPv4/IPv6 {hook} traffic\"\n"
            );
        }
        text += "\t}\n";
    }
    for name in &router.zones {
        let zone =
            package.sections.iter().find(|it| it.kind == "zone" && it.one("name") == Some(name));
        let policy = zone.and_then(|it| it.one("input"));
        let policy = policy.map(|it| format!("\t\tjump {it}\n")).unwrap_or_default();
        text += &format!("\tchain input_{name} {{\n{policy}\t}}\n");
    }
    text += "\tchain rules {\n";
    for rule in rules_of(package).filter(|it| mistakes(package, it).is_empty()) {
        let options = rule.options.iter().filter(|(key, _)| key != "name");
        let options: Vec<_> =
            options.map(|(key, _)| format!("{key} {}", rule.all(key).join(","))).collect();
        let name = rule.one("name").map(|_| rule.json_of("name").unwrap_or_default());
        let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
        text += &format!("\t\t{} comment \"!fw4: {name}\"\n", options.join(" "));
    }
    text + "\t}\n}\n"
}
