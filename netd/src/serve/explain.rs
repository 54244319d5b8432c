//! The verb `explain`.

use octet_appliance::{Traffic, Unit, Zone};
use octet_node::control::Failure;
use serde_json::{Value, json};

use super::{Shared, plan};
use crate::router::explain::Answer;
use crate::router::kind::Kind;

/// Says what becomes of a new flow, and why.
pub async fn explain<B>(
    shared: &Shared<B>,
    from: Zone,
    to: Zone,
    kind: Kind,
) -> Result<Value, Failure> {
    let plan = plan(shared).await?;
    let answer = plan.explain(from, to, kind.traffic, kind.port);
    let note = not_served(&shared.node.units, &answer, to, kind);
    let mut told = match answer {
        Answer::Let { by, text } => {
            json!({ "answer": "allowed", "by": by.to_string(), "rule": text })
        }
        Answer::Neighbour { index, text } => {
            json!({ "answer": "allowed", "by": format!("neighbour {}", index + 1), "rule": text })
        }
        Answer::Published { board, port } => {
            json!({ "answer": "published", "board": board, "port": port })
        }
        Answer::Denied => match plan.policy(from, to, kind) {
            Some(policy) => json!({
                "answer": "denied",
                "rule": "no rule allows it; this in appliance.toml would:",
                "policy": policy,
            }),
            None => json!({ "answer": "denied", "rule": "no rule allows it, and none can" }),
        },
    };
    if let Some(note) = note {
        told["note"] = note.into();
    }
    Ok(told)
}

/// That the board drops what the router forwards to it: a board takes in what one of the `units` of its image has as a
/// port, and nothing else.
fn not_served(units: &[Unit], answer: &Answer, to: Zone, kind: Kind) -> Option<String> {
    let (board, number) = match (answer, to) {
        (Answer::Let { .. }, Zone::Board(board)) => (board, kind.port),
        (Answer::Published { board, port }, _) => (*board, *port),
        _ => return None,
    };
    let mut ports = units.iter().flat_map(|unit| unit.ports.values());
    let is_there =
        ports.any(|it| Traffic::from(it.protocol) == kind.traffic && it.number == number);
    let has_ports = matches!(kind.traffic, Traffic::Tcp | Traffic::Udp);
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
    use crate::router::plan::Source;
    use octet_appliance::UnitSource;

    #[test]
    fn a_port_that_no_unit_has_is_told() {
        let unit = "name = \"web\"\nexec = \"/a\"\nuser = \"extra-1\"\nports.http = \"tcp/80\"\n\
                    sandbox.network = \"host\"\n";
        let units = [UnitSource::parse("unit.toml".into(), unit.to_owned()).unwrap().unit];
        let note = |answer: &Answer, to, kind| not_served(&units, answer, to, kind);
        let by_line = Answer::Let { by: Source::Policy(0), text: String::new() };
        let board = Zone::Board(3);
        assert_eq!(note(&by_line, board, Kind::tcp(80)), None);
        let told = note(&by_line, board, Kind::udp(80)).unwrap();
        assert_eq!(told, "board-3 drops it: no unit of this image has the port udp/80");
        // Others than boards take in what they like, and without ports there is none to have.
        assert_eq!(note(&by_line, Zone::Uplink, Kind::udp(80)), None);
        assert_eq!(note(&by_line, board, Kind::PING), None);
        assert_eq!(note(&Answer::Denied, board, Kind::udp(80)), None);
        // Published is one port as another.
        let published = |port| Answer::Published { board: 2, port };
        assert_eq!(note(&published(80), Zone::Router, Kind::tcp(8080)), None);
        let told = note(&published(81), Zone::Router, Kind::tcp(80)).unwrap();
        assert!(told.starts_with("board-2 drops it") && told.ends_with("tcp/81"), "{told}");
    }
}
