//! The plan in words.

use std::collections::BTreeMap;

use octet_appliance::{ALL_PORTS, Traffic, Way, Zone};

use super::built_in::BuiltIn;
use super::plan::{Plan, Segment, Source};

impl Plan {
    /// What comes of the file, a line for each port, each policy, each published port, and each
    /// built-in line.
    pub fn lines_of_text(&self) -> Vec<String> {
        let mut lines = vec![format!("{:12} {}", "uplink", self.uplink)];
        lines.extend(self.segments().map(port));
        for (index, line) in self.lines.iter().enumerate() {
            lines.push(format!("{:12} {}", format!("policy {}", index + 1), line.text));
        }
        for (index, it) in self.published.iter().enumerate() {
            let name = format!("publish {}", index + 1);
            lines.push(format!("{name:12} {} to board-{} {}", it.port, it.board, it.target));
        }
        let mut built_in = BTreeMap::<(BuiltIn, String), Vec<String>>::new();
        for (way, lets) in &self.lets {
            for it in lets {
                let Source::BuiltIn(line) = it.by else { continue };
                let what = match it.ports == ALL_PORTS {
                    true => way.2.to_string(),
                    false => format!("{} {}", way.2, it.ports),
                };
                built_in.entry((line, pair(*way))).or_default().push(what);
            }
        }
        for ((line, pair), mut what) in built_in {
            what.sort();
            what.dedup();
            lines.push(format!("{:12} {pair}: {}", line.name(), what.join(", ")));
        }
        lines
    }
}

fn port(segment: &Segment) -> String {
    let [(ip4, prefix4), (ip6, prefix6)] = segment.addresses();
    let mac = segment.mac.map_or("whoever asks for an address".into(), |mac| mac.to_string());
    let zone = segment.zone.to_string();
    let who = match segment.zone {
        Zone::Board(_) => format!(", port {}, {mac}", segment.port),
        _ => String::new(),
    };
    format!("{zone:12} {}, {ip4}/{prefix4}, {ip6}/{prefix6}{who}", segment.device)
}

/// Built-in lines are the same for all boards.
fn pair((from, to, _): Way) -> String {
    let name = |zone| match zone {
        Zone::Board(_) => "boards".to_owned(),
        zone => zone.to_string(),
    };
    format!("{} to {}", name(from), name(to))
}

/// A kind of flow and its port, as `explain` is asked: `tcp/4040`, `icmp`, or the number of a protocol.
pub fn asked(text: &str) -> Option<(Traffic, u16)> {
    let (name, port) = match text.split_once('/') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (text, None),
    };
    match (name, port) {
        ("tcp", Some(port)) => Some((Traffic::Tcp, port)),
        ("udp", Some(port)) => Some((Traffic::Udp, port)),
        ("icmp", None) => Some((Traffic::Ping, 0)),
        ("protocol", Some(number)) => Some((Traffic::Number(u8::try_from(number).ok()?), 0)),
        (number, None) => Some((Traffic::Number(number.parse().ok()?), 0)),
        _ => None,
    }
}
