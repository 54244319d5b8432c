//! The verb `explain`.

use octet_appliance::{TrafficKind, Unit, Zone};
use octet_node::control::Failure;
use serde_json::{Value, json};

use super::{ServeState, plan};
use crate::router::kind::FlowKind;
use crate::router::plan::Decision;

/// Reports what happens to a new flow, and why.
pub fn explain<B>(
    shared: &ServeState<B>,
    from: Zone,
    to: Zone,
    kind: FlowKind,
) -> Result<Value, Failure> {
    let config = shared.applied();
    let plan = plan(&config)?;
    let decision = plan.decide((from, to, kind.traffic), kind.port, None);
    let rule = plan.rule_text(decision);
    let note = not_served(&shared.node.units, decision, to, kind);
    let mut answer = match decision {
        Decision::Allowed(by) => {
            json!({ "answer": "allowed", "by": by.to_string(), "rule": rule })
        }
        Decision::Neighbour(index) => {
            json!({ "answer": "allowed", "by": format!("neighbour {}", index + 1), "rule": rule })
        }
        Decision::Published { board, port } => {
            json!({ "answer": "published", "board": board, "port": port })
        }
        Decision::Denied => match plan.policy(from, to, kind) {
            Some(policy) => json!({
                "answer": "denied",
                "rule": "no rule allows it; this in appliance.toml would:",
                "policy": policy,
            }),
            None => json!({ "answer": "denied", "rule": "no rule allows it, and none can" }),
        },
    };
    if let Some(note) = note {
        answer["note"] = note.into();
    }
    Ok(answer)
}

/// Notes that the board drops what the router forwards to it: a board accepts only ports of the
/// `units` of its image.
fn not_served(units: &[Unit], decision: Decision, to: Zone, kind: FlowKind) -> Option<String> {
    let (board, number) = match (decision, to) {
        (Decision::Allowed(_), Zone::Board(board)) => (board, kind.port),
        (Decision::Published { board, port }, _) => (board, port),
        _ => return None,
    };
    let mut ports = units.iter().flat_map(|unit| unit.ports.values());
    let is_there =
        ports.any(|it| TrafficKind::from(it.protocol) == kind.traffic && it.number == number);
    let has_ports = matches!(kind.traffic, TrafficKind::Tcp | TrafficKind::Udp);
    (has_ports && !is_there).then(|| {
        format!(
            "board-{board} drops it: no unit of this image has the port {}/{number}",
            kind.traffic
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::plan::RuleSource;
    use octet_appliance::UnitSource;

    #[test]
    fn a_port_that_no_unit_has_is_told() {
        let unit = "name = \"web\"\nexec = \"/a\"\nuser = \"extra-1\"\nports.http = \"tcp/80\"\n\
                    sandbox.network = \"host\"\n";
        let units = [UnitSource::parse("unit.toml".into(), unit.to_owned()).unwrap().unit];
        let note = |decision, to, kind| not_served(&units, decision, to, kind);
        let allowed = Decision::Allowed(RuleSource::Policy(0));
        let board = Zone::Board(3);
        assert_eq!(note(allowed, board, FlowKind::tcp(80)), None);
        let told = note(allowed, board, FlowKind::udp(80)).unwrap();
        assert_eq!(told, "board-3 drops it: no unit of this image has the port udp/80");
        // Zones that are not boards decide for themselves, and protocols without ports cannot be
        // checked.
        assert_eq!(note(allowed, Zone::Uplink, FlowKind::udp(80)), None);
        assert_eq!(note(allowed, board, FlowKind::PING), None);
        assert_eq!(note(Decision::Denied, board, FlowKind::udp(80)), None);
        // A published port is checked like any other.
        let published = |port| Decision::Published { board: 2, port };
        assert_eq!(note(published(80), Zone::Router, FlowKind::tcp(8080)), None);
        let told = note(published(81), Zone::Router, FlowKind::tcp(80)).unwrap();
        assert!(told.starts_with("board-2 drops it") && told.ends_with("tcp/81"), "{told}");
    }
}
