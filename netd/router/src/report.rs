//! The plan in words.

use std::collections::BTreeMap;
use std::fmt;

use octet_appliance::{ALL_PORTS, FlowKey, LINKS_PORT, Zone};

use crate::built_in::BuiltIn;
use crate::plan::{RouterNeighbour, RouterPlan, RouterSegment, RuleSource, VPN};

impl RouterPlan {
    /// One line for each port, each policy, each published port, each neighbour of the router, and
    /// each built-in rule.
    pub fn report(&self) -> Vec<String> {
        let mut lines = vec![format!("{:12} {}", "uplink", self.uplink)];
        lines.extend(self.segments().map(port));
        for (index, policy) in self.policies.iter().enumerate() {
            lines.push(format!("{:12} {}", format!("policy {}", index + 1), policy.text));
        }
        for (index, it) in self.published.iter().enumerate() {
            let name = format!("publish {}", index + 1);
            lines.push(format!("{name:12} {} to board-{} {}", it.port, it.board, it.target));
        }
        for (index, it) in self.neighbours.iter().enumerate() {
            lines.push(format!("{:12} {it}", format!("neighbour {}", index + 1)));
        }
        if self.vpn {
            lines.push(format!("{:12} lan to uplink: by {VPN} alone, IPv4 alone", "vpn"));
        }
        let mut built_in = BTreeMap::<(BuiltIn, String), Vec<String>>::new();
        for (flow, it) in self.allowed.entries() {
            let RuleSource::BuiltIn(rule) = it.rule else { continue };
            let what = match it.ports == ALL_PORTS {
                true => flow.2.to_string(),
                false => format!("{} {}", flow.2, it.ports),
            };
            built_in.entry((rule, pair(rule, flow))).or_default().push(what);
        }
        for ((rule, pair), mut what) in built_in {
            what.sort();
            what.dedup();
            lines.push(format!("{:12} {pair}: {}", rule.name(), what.join(", ")));
        }
        lines
    }
}

impl fmt::Display for RouterNeighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uplink to router: udp {LINKS_PORT}, ")?;
        match self.at {
            Some(at) => write!(f, "from {}; router to uplink: udp {at}; {}", at.ip(), self.name),
            None => write!(f, "whoever it is; {}", self.name),
        }
    }
}

fn port(segment: &RouterSegment) -> String {
    let [(ip4, prefix4), (ip6, prefix6)] = segment.addresses();
    let mac = segment.mac.map_or("whoever asks for an address".into(), |mac| mac.to_string());
    let zone = segment.zone.to_string();
    let who = match segment.zone {
        Zone::Board(_) => format!(", port {}, {mac}", segment.port),
        _ => String::new(),
    };
    format!("{zone:12} {}, {ip4}/{prefix4}, {ip6}/{prefix6}{who}", segment.device)
}

/// Built-in rules are the same for all boards, except for the coordinator.
fn pair(rule: BuiltIn, (from, to, _): FlowKey) -> String {
    let name = |zone| match zone {
        Zone::Board(_) => "boards".to_owned(),
        zone => zone.to_string(),
    };
    match rule {
        BuiltIn::ManagerEnrolment | BuiltIn::ManagerGate => format!("{} to {to}", name(from)),
        BuiltIn::ManagerRelay | BuiltIn::ManagerRouter => format!("{from} to {}", name(to)),
        _ => format!("{} to {}", name(from), name(to)),
    }
}
