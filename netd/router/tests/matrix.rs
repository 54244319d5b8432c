//! The report about boards that have sent each other packets, over a simulated network by an
//! independent implementation of the policies: one that obeys them, and ones that do not.

#![cfg(test)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use octet_appliance::{Appliance, Mac, TrafficKind, Unit, UnitSource, Zone};
use octet_evaluator as evaluator;
use octet_router::kind::FlowKind;
use octet_router::matrix::{BoardEnd, Matrix, ReceivedProbes};
use octet_router::plan::RouterPlan;
use proptest::prelude::*;

const GATE: &str = include_str!("../../../tests/evaluator/testdata/gate.toml");

const BOX: &str = r#"
[appliance]
name = "octet"
[image]
packages = []
drivers = []
modules = []
services = []
[cluster]
boards = 4
router = "openwrt"
[lan]
[[board]]
number = 1
role = "manager"

[[policy]]
from = "boards"
to = "board-2"
protocol = "tcp"
ports = [8080, "9000-9010"]

[[policy]]
from = "board-3"
to = ["board-1", "router"]
protocol = "udp"
ports = [53]

[[policy]]
from = "lan"
to = "boards"
protocol = "icmp"
"#;

/// One packet: sender, destination, kind, and IP version.
type Sent = (u8, Zone, FlowKind, evaluator::Version);

fn gate() -> Unit {
    let ports = "ports.gate = \"tcp/4040\"\n";
    let text = format!("name = \"gate\"\nexec = \"/a\"\n{ports}sandbox.network = \"host\"\n");
    UnitSource::parse("unit.toml".into(), text).unwrap().unit
}

fn plan() -> RouterPlan {
    let appliance = Appliance::parse("a.toml", BOX).unwrap_or_else(|error| panic!("{error}"));
    let settings = appliance.cluster_settings().unwrap();
    RouterPlan::new(&settings, &[gate()]).unwrap()
}

fn world() -> &'static evaluator::World {
    static WORLD: LazyLock<evaluator::World> =
        LazyLock::new(|| evaluator::World::read(BOX, &[GATE]).unwrap());
    &WORLD
}

fn mac(number: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, number]).unwrap()
}

fn address(number: u8, version: evaluator::Version) -> IpAddr {
    world().address(evaluator::Zone::Board(number), version).unwrap()
}

/// A board with the addresses of its port.
fn seat(number: u8) -> BoardEnd {
    let mac = mac(number);
    let own = evaluator::Version::BOTH.map(|version| address(number, version));
    BoardEnd { number, mac, addresses: [&own[..], &[mac.link_local()]].concat() }
}

/// Whether it arrives where policies are obeyed.
fn is_let((from, to, kind, version): Sent) -> bool {
    let to = match to {
        Zone::Board(number) => evaluator::Zone::Board(number),
        _ => evaluator::Zone::Router,
    };
    let traffic = match kind.traffic {
        TrafficKind::Tcp => evaluator::Traffic::Tcp(kind.port),
        TrafficKind::Udp => evaluator::Traffic::Udp(kind.port),
        TrafficKind::Ping => evaluator::Traffic::Ping,
        TrafficKind::Number(number) => evaluator::Traffic::Protocol(number),
    };
    world().reaches(evaluator::Zone::Board(from), to, traffic, version).is_some()
}

/// Everything that these boards should send.
fn all(matrix: &Matrix<'_>) -> Vec<Sent> {
    let mut all = vec![];
    for from in matrix.boards().map(|it| it.number) {
        for to in matrix.targets(from) {
            for kind in matrix.kinds(from, to) {
                all.extend(evaluator::Version::BOTH.map(|version| (from, to, kind, version)));
            }
        }
    }
    all
}

/// The packet arrives, or is answered.
fn come(matrix: &mut Matrix<'_>, (from, to, kind, version): Sent) {
    let one = |address| ReceivedProbes::from([(address, BTreeSet::from([kind]))]);
    match to {
        Zone::Board(to) => matrix.add_received(to, one(address(from, version))),
        _ => {
            let router = world().router_in(evaluator::Zone::Board(from), version).unwrap();
            matrix.add_answers(from, one(router));
        }
    }
}

/// Boards behind a router that obeys, except for `wrong`.
fn but_for<'a>(plan: &'a RouterPlan, boards: &[u8], wrong: &[Sent]) -> Matrix<'a> {
    let mut matrix = Matrix::new(plan, boards.iter().map(|number| seat(*number)));
    for sent in all(&matrix) {
        if is_let(sent) != wrong.contains(&sent) {
            come(&mut matrix, sent);
        }
    }
    matrix
}

#[test]
fn a_router_that_obeys_is_as_the_plan_says() {
    let plan = plan();
    let boards = [1, 2, 3, 4];
    let matrix = but_for(&plan, &boards, &[]);
    assert_eq!((matrix.differences(), matrix.unsent()), (vec![], vec![]));
    let sent = all(&matrix);
    // Both kinds are sent, in each direction.
    for from in boards {
        for to in matrix.targets(from) {
            let of = |it: &&Sent| (it.0, it.1) == (from, to);
            assert!(sent.iter().filter(of).any(|it| !is_let(*it)), "{from} {to}");
            assert!(matrix.missing(from, to).is_empty());
        }
    }
    let let_in = sent.iter().filter(|it| is_let(**it)).count();
    assert!(let_in > 20 && let_in * 3 < sent.len(), "{let_in} of {}", sent.len());
    // The edges of port ranges in policies.
    let edges = [8079, 8080, 8081, 8999, 9000, 9010, 9011].map(FlowKind::tcp);
    let kinds = matrix.kinds(4, Zone::Board(2));
    assert!(edges.iter().all(|it| kinds.contains(it)), "{kinds:?}");
    // The router is not probed for what it may answer: a missing answer would prove nothing.
    let kinds = matrix.kinds(3, Zone::Router);
    assert!(kinds.contains(&FlowKind::PING) && kinds.contains(&FlowKind::tcp(443)), "{kinds:?}");
    assert!(
        !kinds.contains(&FlowKind::tcp(53)) && !kinds.contains(&FlowKind::udp(53)),
        "{kinds:?}"
    );
    let table = matrix.table();
    println!("{}", table.join("\n"));
    assert_eq!(table[2], "board-2       2/24          -     0/18      0/18      2/16");
    assert!(!table.concat().contains('!'));
}

#[test]
fn nothing_has_come() {
    let plan = plan();
    let matrix = Matrix::new(&plan, [1, 2, 3].map(seat));
    let found = matrix.differences();
    for expected in [
        "board-1 does not reach board-2 by tcp/4040 (IPv4), tcp/4040 (IPv6), which built-in manager-relay lets",
        "board-3 does not reach board-1 by udp/53 (IPv4), udp/53 (IPv6), which policy 2 lets",
        "board-2 does not reach router by icmp (IPv4), icmp (IPv6), which built-in ping lets",
    ] {
        assert!(found.contains(&expected.to_owned()), "{expected}: {found:#?}");
    }
    assert_eq!(matrix.missing(3, Zone::Board(1)), [FlowKind::tcp(4041), FlowKind::udp(53)]);
}

/// A board that has only IPv4 need not send IPv6.
#[test]
fn a_version_that_one_of_them_has_not() {
    let plan = plan();
    let mut old = seat(2);
    old.addresses.retain(IpAddr::is_ipv4);
    let mut matrix = Matrix::new(&plan, [seat(1), old, seat(3)]);
    for sent in all(&matrix) {
        let is_old = sent.0 == 2 || sent.1 == Zone::Board(2);
        if is_let(sent) && (sent.3 == evaluator::Version::V4 || !is_old) {
            come(&mut matrix, sent);
        }
    }
    assert_eq!(matrix.differences(), Vec::<String>::new());
    let unsent = matrix.unsent();
    assert_eq!(unsent.len(), 1);
    assert!(unsent[0].starts_with("board-2 does not have fd"), "{unsent:?}");
}

/// Link-local traffic is not forwarded by any router.
#[test]
fn frames_that_go_past_the_router() {
    let plan = plan();
    let mut matrix = but_for(&plan, &[1, 2, 3, 4], &[]);
    let past = |number| {
        ReceivedProbes::from([(mac(number).link_local(), BTreeSet::from([FlowKind::udp(9)]))])
    };
    matrix.add_received(2, past(1));
    matrix.add_received(4, past(1));
    // Its own packets, and the router's.
    matrix.add_received(3, past(3));
    matrix.add_received(3, past(99));
    let found = matrix.differences();
    assert_eq!(found.len(), 1, "{found:?}");
    let shout = "THE SWITCH DOES NOT KEEP BOARDS APART, whatever is configured: ";
    assert!(found[0].starts_with(shout), "{found:?}");
    assert!(found[0].ends_with("from board-1 to board-2, board-1 to board-4"), "{found:?}");
    assert_eq!(matrix.table().concat().matches('!').count(), 2);
}

/// One difference from the plan.
fn one_wrong() -> impl Strategy<Value = Sent> {
    let plan = plan();
    prop::sample::select(all(&Matrix::new(&plan, [1, 2, 3, 4].map(seat))))
}

proptest! {
    /// A single difference of any kind is found, and nothing else.
    #[test]
    fn one_thing_that_is_wrong_is_found(wrong in one_wrong()) {
        let plan = plan();
        let matrix = but_for(&plan, &[1, 2, 3, 4], &[wrong]);
        let (from, to, kind, version) = wrong;
        let version = if version == evaluator::Version::V4 { "IPv4" } else { "IPv6" };
        let how = if is_let(wrong) { "does not reach" } else { "reaches" };
        let found = matrix.differences();
        prop_assert_eq!(found.len(), 1, "{:?}", found);
        let begins = format!("board-{from} {how} {to} by {kind} ({version}), which ");
        prop_assert!(found[0].starts_with(&begins), "{:?}", found);
        prop_assert_eq!(found[0].ends_with("which no policy allows"), !is_let(wrong));
        prop_assert_eq!(matrix.missing(from, to).len(), usize::from(is_let(wrong)));
        prop_assert_eq!(matrix.table().concat().matches('!').count(), 1);
    }
}
