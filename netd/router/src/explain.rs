//! Explains a decision: which rule allows a flow, or which policy would.

use octet_appliance::{MASQUERADE_PORTS, MPLS_IN_IP, Policy, TrafficKind, Zone};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kind::FlowKind;
use crate::plan::{Decision, RouterPlan, RuleSource};

impl RouterPlan {
    /// The text of the rule that allows a flow: the policy, or where the rule is described.
    pub fn rule_text(&self, decision: Decision) -> Option<String> {
        match decision {
            Decision::Allowed(RuleSource::Policy(index)) => Some(self.policies[index].text.clone()),
            Decision::Allowed(RuleSource::BuiltIn(_)) => {
                Some("docs/segments.md lists it".to_owned())
            }
            Decision::Neighbour(index) => Some(self.neighbours[index].to_string()),
            Decision::Published { .. } | Decision::Denied => None,
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
        let is_kept = (from, to) == (Zone::Uplink, Zone::Router)
            && has_ports
            && MASQUERADE_PORTS.contains(kind.port);
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
