//! A neighbour guesses labels: only those that were assigned to it are forwarded.

use std::collections::BTreeSet;
use std::time::Duration;

use octet_machine::panel::raw;
use octet_machine::{Mac, Node, Socket, router_card};
use serde_json::{Value, json};

use crate::cluster::adopted::path_add;
use crate::cluster::metering::{Counts, PATH, Place, counted};
use crate::cluster::site::{Site, address};
use crate::cluster::wires::Wires;

/// Another path through the relay of `metering.rs`, over WireGuard. The links of the path there are
/// plain, so the source's packets to the relay can be forged on the wire.
pub const OTHERS: [u8; 3] = [2, 1, 5];

/// The number of labels (RFC 3032, 2.1).
const LABELS: u32 = 1 << 20;

/// The number of frames in a burst, and the pause after it: the guest has to keep up.
const AT_ONCE: usize = 50;
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// The memory limit of forward, in bytes.
const MEMORY: u64 = 64 << 20;

/// MPLS in IP (RFC 4023).
const MPLS_IN_IP: u8 = 137;

/// A frame with this label, as the source sends it to the relay. The payload is arbitrary.
fn frame(label: u32) -> Vec<u8> {
    let [source, relay, _] = PATH;
    // The label, the bottom-of-stack bit, and the TTL.
    let shim = (label << 12 | 1 << 8 | 64).to_be_bytes();
    let payload = [&shim[..], &[0x45; 60]].concat();
    let ends = (address(source).into(), address(relay).into());
    let macs = (Mac::number(source), router_card(source));
    raw::ethernet::ip(macs, &raw::packet(ends, MPLS_IN_IP, &payload))
}

/// The relay's counters.
fn counts(site: &Site) -> Counts {
    counted(site, PATH[1])
}

/// The frames that the relay has received.
fn received(site: &Site) -> u64 {
    let shown = site.ask(Node::Board(PATH[1]), "netd", "show", json!({ "links": true }));
    let mut links = shown["links"].as_array().unwrap().iter();
    links.find(|it| it["name"] == "eth0").unwrap()["received"].as_u64().unwrap()
}

/// Sets up the other path.
pub fn others(site: &Site) -> Value {
    let [from, via, to] = OTHERS;
    let asked = json!({ "to": to.to_string(), "via": via.to_string(), "alone": true });
    let path = path_add(site, from, &asked);
    site.ask(Node::Board(from), "forward", "ping", json!({ "path": path }));
    path
}

/// The source guesses labels at the relay. There is no other traffic.
pub fn passes(site: &Site, wires: &Wires) {
    let [source, relay, end] = PATH;
    let before = counts(site);
    let is_given = |place: &Place| place.1 == "in" && place.2 == source;
    let given: BTreeSet<_> = before.keys().filter(|place| is_given(place)).collect();
    assert_eq!(given.len(), 1, "{before:?}");
    let own = given.iter().next().unwrap().3;
    let own = u32::try_from(own).unwrap();
    let packets = |place: &Place| counts(site).get(place).copied().unwrap_or_default().0;
    let into = (relay, "in", source, u64::from(own));
    let on_wire = || -> u64 {
        let labels = wires.labels();
        { labels.iter() }.filter(|(it, _)| it.0 == relay && it.1 == "out").map(|(_, it)| it.0).sum()
    };

    // The source's own label is accepted, and the packet is forwarded to the end.
    let (had, passed) = (packets(&into), on_wire());
    site.cluster.inject(Socket::Board(source), &frame(own));
    site.wait("the label that was given to it passes", || {
        packets(&into) == had + 1 && on_wire() == passed + 1
    });

    // The guesses include the labels of other paths, in both directions.
    let of_others: BTreeSet<u32> = before
        .keys()
        .map(|place| u32::try_from(place.3).unwrap())
        .filter(|it| *it != own)
        .collect();
    assert!(of_others.len() >= 5, "{before:?}");
    let guesses: Vec<_> =
        of_others.iter().copied().chain(0..LABELS).filter(|it| *it != own).collect();
    let (all, came) = (counts(site), received(site));
    let daemon =
        || site.machine(Node::Board(relay)).status().unwrap().unit("forward").unwrap().clone();
    let restarts = daemon().restarts;
    for some in guesses.chunks(AT_ONCE) {
        for label in some {
            site.cluster.inject(Socket::Board(source), &frame(*label));
        }
        std::thread::sleep(RETRY_DELAY);
    }
    let sent = u64::try_from(guesses.len()).unwrap();
    site.wait("all have come to the relay", || received(site) >= came + sent);
    site.cluster.inject(Socket::Board(source), &frame(own));
    site.wait("its own label passes still", || {
        packets(&into) == had + 2 && on_wire() == passed + 2
    });
    let after = daemon();
    let memory = after.memory.unwrap();
    println!(
        "{sent} labels were guessed, {} of others among them; forward has {memory} bytes",
        of_others.len()
    );
    assert!(after.restarts == restarts && memory <= MEMORY, "{after:?}");

    // No other counter has changed, and only the two packets were forwarded.
    let mut grown = counts(site);
    grown.retain(|place, count| all.get(place) != Some(count));
    let out = grown.keys().filter(|place| place.1 == "out").collect::<Vec<_>>();
    assert_eq!(grown.len(), 2, "{grown:?}");
    assert!(grown.contains_key(&into) && out.len() == 1 && out[0].2 == end, "{grown:?}");
    assert_eq!(on_wire(), passed + 2);
}
