//! Configurations with common and different rules, and the resulting probes.

use octet_evaluator::{By, Probe as Asked, Traffic, Verdict, World, Zone};

use crate::segments::site::{text, world};
use crate::segments::sweep::pairs;

pub const BOARDS: u8 = 4;

const KEPT: &str = r#"
[[policy]]
from = "board-1"
to = ["board-2", "uplink"]
protocol = "udp"
ports = [6000, "6010-6015"]

[[policy]]
from = ["board-1", "uplink"]
to = "board-2"
protocol = "tcp"
ports = [6001]

[[policy]]
from = "board-4"
to = "uplink"
protocol = "tcp"
ports = [6001]

[[policy]]
from = "boards"
to = "board-3"
protocol = "icmp"

[[publish]]
port = "udp/444"
to = "board-2"
at = "udp/6000"
"#;

const ONE: &str = r#"
[[policy]]
from = ["board-1", "lan"]
to = ["board-3", "board-4"]
protocol = "tcp"
ports = ["7000-7002"]

[[policy]]
from = ["board-2", "lan"]
to = ["uplink", "board-1"]
protocol = "udp"
ports = [7000]

[[policy]]
from = "uplink"
to = "board-4"
protocol = "tcp"
ports = [7001]

[[policy]]
from = "board-3"
to = ["router", "board-1"]
protocol = 47

[[publish]]
port = "tcp/443"
to = "board-2"
at = "tcp/8443"

[[publish]]
port = "udp/443"
to = "board-4"
at = "udp/8443"
"#;

const OTHER: &str = r#"
[[policy]]
from = "board-3"
to = ["board-1", "uplink"]
protocol = "tcp"
ports = ["7000-7002"]

[[policy]]
from = ["board-4", "uplink"]
to = ["board-1", "router"]
protocol = "udp"
ports = [7000]

[[policy]]
from = "lan"
to = ["boards", "uplink"]
protocol = "icmp"

[[policy]]
from = "board-2"
to = "lan"
protocol = "tcp"
ports = [7001]

[[publish]]
port = "tcp/443"
to = "board-3"
at = "tcp/8443"
"#;

/// Without `[lan]`. External hosts may do what `lan` could before.
const ALONE: &str = r#"
[[policy]]
from = ["board-3", "uplink"]
to = ["board-1", "board-4"]
protocol = "udp"
ports = [7000]

[[policy]]
from = "uplink"
to = ["board-3", "board-4"]
protocol = "tcp"
ports = ["7000-7002"]
"#;

pub struct File {
    /// The text of `appliance.toml`.
    pub text: String,
    /// The same for the evaluator.
    pub world: World,
}

pub fn files() -> [File; 3] {
    let file = |text: String| File { world: world(&text), text };
    let both = |lines: &str| text(BOARDS, &format!("{KEPT}{lines}"));
    [file(both(ONE)), file(both(OTHER)), file(both(ALONE).replacen("[lan]\n", "", 1))]
}

/// The probes: all pairs, the bounds of all rules. Pings to the router are left out, because it
/// answers few.
pub fn asked(files: &[File]) -> Vec<Asked> {
    let mut traffic: Vec<_> = files.iter().flat_map(|file| file.world.worth_a_probe()).collect();
    traffic.sort_unstable();
    traffic.dedup();
    let mut asked = pairs(&files[0].world.zones(), &traffic);
    asked.retain(|(_, to, what, _)| *to != Zone::Router || *what != Traffic::Ping);
    asked
}

/// The rule that allows the probe.
pub fn line(world: &World, (from, to, what, version): Asked) -> Option<By> {
    match world.verdict(from, to, what, version) {
        Verdict::Arrives { by, .. } => Some(by),
        Verdict::Dropped { .. } => None,
    }
}

/// Whether the rule is in all files.
pub fn is_kept(line: Option<By>) -> bool {
    // The common rules are the first ones.
    let (policies, publishes) = (KEPT.matches("[[policy]]").count(), 1);
    match line {
        Some(By::Policy(number)) => number <= policies,
        Some(By::Publish(number)) => number <= publishes,
        Some(By::Neighbour(_)) => false,
        Some(By::BuiltIn(_)) => true,
        None => false,
    }
}

/// The flows that can be simulated: one for each pair of zones and kind of rule.
pub fn playable(asked: &[Asked]) -> Vec<Asked> {
    let ports = [443, 444, 6000, 6001, 7000, 7001];
    let is_playable = |(_, _, what, _): &&Asked| match what {
        Traffic::Tcp(port) | Traffic::Udp(port) => ports.contains(port),
        _ => false,
    };
    asked.iter().filter(is_playable).copied().collect()
}
