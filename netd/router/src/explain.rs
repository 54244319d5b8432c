//! Explains which rule decides about a kind of traffic.

use octet_appliance::{MASQUERADE_PORTS, MPLS_IN_IP, Policy, PortRange, TrafficKind, Zone};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kind::FlowKind;
use crate::plan::{RouterPlan, RuleSource};

/// What happens to a new flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    Let {
        by: RuleSource,
        /// The policy, or its description in the documentation.
        text: String,
    },
    /// A link to another box.
    Neighbour {
        /// The neighbour, counted from 0 among the router's.
        index: usize,
        /// The description of the neighbour's rule.
        text: String,
    },
    /// A port of the uplink is forwarded to a board.
    Published {
        board: u8,
        port: u16,
    },
    Denied,
}

impl RouterPlan {
    /// Decides a new flow of `traffic` to `port` from one zone to another.
    pub fn explain(&self, from: Zone, to: Zone, traffic: TrafficKind, port: u16) -> Explanation {
        let published = self.published.iter().find(|it| {
            let at_router = (from, to) == (Zone::Uplink, Zone::Router);
            at_router && TrafficKind::from(it.port.protocol) == traffic && it.port.number == port
        });
        if let Some(published) = published {
            return Explanation::Published {
                board: published.board,
                port: published.target.number,
            };
        }
        let lets = self.lets.get(&(from, to, traffic)).into_iter().flatten();
        let has = |ports: PortRange| (ports.first..=ports.last).contains(&port);
        if let Some(found) = { lets }.find(|it| has(it.ports)) {
            let text = match found.by {
                RuleSource::Policy(index) => self.lines[index].text.clone(),
                RuleSource::BuiltIn(_) => "docs/segments.md lists it".to_owned(),
            };
            return Explanation::Let { by: found.by, text };
        }
        match self.neighbour((from, to, traffic), port, None) {
            Some(index) => {
                Explanation::Neighbour { index, text: self.neighbours[index].to_string() }
            }
            None => Explanation::Denied,
        }
    }

    /// The policy for `appliance.toml` that would allow the flow; `None` if no policy can.
    pub fn policy(&self, from: Zone, to: Zone, kind: FlowKind) -> Option<String> {
        let is_there = |zone| match zone {
            Zone::Board(number) => self.boards.iter().any(|it| it.number == number),
            Zone::Lan => self.lan.is_some(),
            Zone::Router | Zone::Uplink | Zone::Path => true,
        };
        let between_boards = matches!((from, to), (Zone::Board(_), Zone::Board(_)));
        let (protocol, has_ports): (Value, bool) = match kind.traffic {
            TrafficKind::Tcp | TrafficKind::Udp => (kind.traffic.to_string().into(), true),
            TrafficKind::Number(MPLS_IN_IP) if !between_boards => return None,
            TrafficKind::Number(MPLS_IN_IP) => ("mpls-in-ip".into(), false),
            TrafficKind::Ping => ("icmp".into(), false),
            TrafficKind::Number(number) => (number.into(), false),
        };
        let PortRange { first, last } = MASQUERADE_PORTS;
        let is_kept = (from, to) == (Zone::Uplink, Zone::Router)
            && has_ports
            && (first..=last).contains(&kind.port);
        if from == to || is_kept || !is_there(from) || !is_there(to) {
            return None;
        }
        let mut policy =
            json!({ "from": from.to_string(), "to": to.to_string(), "protocol": protocol });
        if has_ports {
            policy["ports"] = kind.port.into();
        }
        // Some protocols and ports are not accepted in a policy.
        Policy::deserialize(&policy).ok()?;
        let keys = ["from", "to", "protocol", "ports"].into_iter();
        // Strings and numbers have the same syntax in TOML and JSON.
        let said = keys.filter_map(|key| Some(format!("\n{key} = {}", policy.get(key)?)));
        Some(format!("[[policy]]{}", said.collect::<String>()))
    }
}
