//! Every ordered pair of zones in boxes of every size: exactly the packets arrive that the
//! evaluator expects, and all others would arrive if policies allowed them.

use std::collections::{BTreeMap, BTreeSet};

use octet_evaluator::{Probe as Asked, Traffic, Verdict, World, Zone};
use octet_tests::{seed, soak};

use crate::segments::errors::{Much, Wanted, only_by_those_on_the_way};
use crate::segments::site::{Site, text};
use crate::segments::sweep::{blurred, pairs};

/// Policies for boxes of at least four boards.
const LINES: &str = r#"
[[policy]]
from = "boards"
to = "board-2"
protocol = "tcp"
ports = [8080]

[[policy]]
from = ["board-3", "lan"]
to = "uplink"
protocol = "tcp"
ports = [80, "8000-8010"]

[[policy]]
from = "lan"
to = "boards"
protocol = "icmp"

[[policy]]
from = "board-1"
to = "board-2"
protocol = 47

[[policy]]
from = "board-4"
to = ["board-3", "lan", "router"]
protocol = "udp"
ports = ["6000-6005"]

[[policy]]
from = "uplink"
to = "board-1"
protocol = "udp"
ports = [4433]

[[policy]]
from = "board-@last"
to = "board-1"
protocol = "udp"
ports = [7000]

[[publish]]
port = "tcp/443"
to = "board-2"
at = "tcp/8443"
"#;

/// DHCP requests are not flows.
const DHCP: [u16; 2] = [67, 547];

/// The maximum number of flows for which errors are sent.
const FLOWS: usize = 12;

/// Policies that allow everything that can be allowed, from each of `senders` to all zones.
fn everything(senders: &[Zone], traffic: &[Traffic]) -> String {
    let senders: Vec<_> = senders.iter().map(ToString::to_string).collect();
    // The source ports of the box itself at the uplink are left out.
    let all = "\"1-60999\", \"62000-65535\"";
    let mut what = vec![
        format!("protocol = \"tcp\"\nports = [{all}]"),
        format!("protocol = \"udp\"\nports = [{all}]"),
        "protocol = \"icmp\"".to_owned(),
    ];
    what.extend(traffic.iter().filter_map(|traffic| match traffic {
        Traffic::Protocol(number) => Some(format!("protocol = {number}")),
        _ => None,
    }));
    let line = |what: String| {
        let to = "[\"boards\", \"lan\", \"uplink\", \"router\"]";
        format!("[[policy]]\nfrom = {senders:?}\nto = {to}\n{what}\n")
    };
    what.into_iter().map(line).collect()
}

/// Removes probes from `asked` that do not arrive in a box with every policy. Returns their number,
/// by kind and reason.
fn exempt(open: &World, asked: &mut Vec<Asked>) -> BTreeMap<String, usize> {
    let mut exempt = BTreeMap::new();
    asked.retain(|asked| {
        let (from, to, traffic, version) = *asked;
        let why = match open.verdict(from, to, traffic, version) {
            Verdict::Dropped { why } => Some(why),
            Verdict::Arrives { .. } => blurred(open, *asked).map(str::to_owned),
        };
        if let Some(why) = &why {
            *exempt.entry(format!("{traffic} of {version}: {why}")).or_default() += 1;
        }
        why.is_none()
    });
    exempt
}

/// The traffic to probe: the bounds of all rules with adjacent ports, and 20 random ports.
fn kinds(world: &World, chance: &mut fastrand::Rng) -> Vec<Traffic> {
    let mut kinds = world.worth_a_probe();
    let others = kinds.len() + 20;
    while kinds.len() < others {
        // The source ports of probes are left out: packets to them look like answers.
        let port = chance.u16(1..20_000);
        let other = if chance.bool() { Traffic::Tcp(port) } else { Traffic::Udp(port) };
        if !kinds.contains(&other) {
            kinds.push(other);
        }
    }
    kinds
}

/// Sorts the probes so that the ordered pairs alternate.
fn by_turns(asked: &mut [Asked]) {
    let mut turns: BTreeMap<(Zone, Zone), usize> = BTreeMap::new();
    asked.sort_by_cached_key(|(from, to, ..)| {
        let turn = turns.entry((*from, *to)).or_default();
        *turn += 1;
        *turn
    });
}

/// A UDP flow for each ordered pair with an allowed one.
fn flows(world: &World, asked: &[Asked]) -> Vec<Wanted> {
    let mut flows = BTreeMap::new();
    for &(from, to, traffic, version) in asked {
        if let Traffic::Udp(port) = traffic
            && !DHCP.contains(&port)
            && world.reaches(from, to, traffic, version) == Some(to)
        {
            flows.entry((from, to)).or_insert((from, to, false, port));
        }
    }
    flows.into_values().collect()
}

/// The probed part of a box.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// The number of probes: at least one denied probe for each ordered pair.
    probes: usize,
    /// The number of zones whose denied probes are allowed afterwards.
    senders: usize,
}

/// A box with this many boards; all probes, or a sample.
fn what_arrives(boards: u8, sample: Option<Sample>) {
    println!("{boards} boards");
    let mut chance = fastrand::Rng::with_seed(seed());
    let lines = LINES.replace("@last", &boards.to_string());
    let mut site = Site::start(&text(boards, &lines));
    let zones = site.world.zones();
    let kinds = kinds(&site.world, &mut chance);
    let mut asked = pairs(&zones, &kinds);
    println!("{} zones, {} kinds, {} probes", zones.len(), kinds.len(), asked.len());
    let mut flows = flows(&site.world, &asked);
    chance.shuffle(&mut flows);
    flows.truncate(FLOWS);
    if let Some(Sample { probes: most, .. }) = sample {
        chance.shuffle(&mut asked);
        // Few probes are allowed: up to half of the sample is.
        let is_let = |it: &Asked| site.world.reaches(it.0, it.1, it.2, it.3).is_some();
        let (mut some, mut denied): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_let);
        by_turns(&mut denied);
        some.truncate(most / 2);
        denied.truncate(most - some.len());
        let pairs: BTreeSet<_> = denied.iter().map(|(from, to, ..)| (*from, *to)).collect();
        assert_eq!(pairs.len(), (zones.len() - 1).pow(2));
        some.extend(denied);
        asked = some;
    }
    let swept = site.sweep(&asked);
    swept.must_be_right(&site);
    assert!(swept.arrived > 100 && swept.arrived * 2 <= swept.sent);

    // From all zones that are not an end of the flow, and from both ends.
    let wrong = only_by_those_on_the_way(&mut site, &flows, Much::One);
    assert!(wrong.is_empty(), "{wrong:#?}");

    let is_let = |it: &Asked| site.world.reaches(it.0, it.1, it.2, it.3).is_some();
    let mut senders: Vec<_> = zones.iter().copied().filter(|it| *it != Zone::Router).collect();
    if let Some(sample) = sample {
        chance.shuffle(&mut senders);
        senders.truncate(sample.senders);
    }
    asked.retain(|it| !is_let(it) && senders.contains(&it.0));
    site.change(&text(boards, &everything(&senders, &kinds)));
    println!("exempt: {:#?}", exempt(&site.world, &mut asked));
    let swept = site.sweep(&asked);
    swept.must_be_right(&site);
    assert_eq!(swept.sent, swept.arrived);
}

#[test]
fn of_4_boards() {
    what_arrives(4, (!soak()).then_some(Sample { probes: 1000, senders: 6 }));
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn of_8_boards() {
    what_arrives(8, (!soak()).then_some(Sample { probes: 1500, senders: 4 }));
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn of_16_boards() {
    what_arrives(16, None);
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn of_32_boards() {
    what_arrives(32, (!soak()).then_some(Sample { probes: 2400, senders: 4 }));
}
