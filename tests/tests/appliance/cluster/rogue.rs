//! A rogue DHCP server and a rogue coordinator: only nodes that are connected to them directly are
//! affected.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use octet_machine::panel::peer::{OwnAddresses, Peer, PeerBehaviour};
use octet_machine::panel::{DhcpServer, Mac, Port, raw};
use octet_machine::{Cluster, Node, Socket, router_card};
use serde_json::{Value, json};

use crate::cluster::joined::Joined;
use crate::cluster::site::{Site, image, text};

const BOARDS: u8 = 4;

/// The router's card for the owner's devices.
const LAN: u8 = BOARDS + 1;

/// It assigns the address of board 3.
const SERVER: DhcpServer = DhcpServer {
    mac: Mac::number(210),
    address: Ipv4Addr::new(10, 20, 3, 1),
    mask: Ipv4Addr::new(255, 255, 255, 0),
    offered: Ipv4Addr::new(10, 20, 3, 2),
    seconds: 3600,
    knows: false,
};

/// Runs the server at the end of a wire. It counts the requests.
fn serves(port: Port, other: Mac, asked: &Arc<AtomicUsize>) -> Peer {
    let asked = Arc::clone(asked);
    let on_frame = move |frame: &[u8]| {
        let (_, reply) = SERVER.answer(frame)?;
        asked.fetch_add(1, Ordering::Relaxed);
        reply
    };
    let does = PeerBehaviour {
        own: OwnAddresses::One(SERVER.address),
        on_frame: Box::new(on_frame),
        answer: Box::new(|_| vec![]),
    };
    Peer::start(port, SERVER.mac, other, does)
}

/// The drops at a port, for all reasons.
fn dropped(site: &Site, port: u8) -> u64 {
    let shown = site.ask(Node::Router, "netd", "show", json!({}));
    let at = shown["drops"][format!("eth{port}")].clone();
    at.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

fn coordinator(site: &Site, board: u8) -> (Value, Value) {
    let shown = site.ask(Node::Board(board), "cluster", "show", json!({}));
    (shown["coordinator"].clone(), shown["state"].clone())
}

fn own_key(site: &Site) -> Value {
    let shown = || site.ask(Node::Router, "cluster", "show", json!({}))["node"].clone();
    site.wait("the router has a key", || shown().is_string());
    shown()
}

/// In the short tier `segments::attacks` tests the router's ports with such a server, and
/// `rogues.rs` of cluster's own tests a board's pin with such a coordinator.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn rogues_are_heard_by_nobody_who_is_not_plugged_into_them() {
    let image = image(&text(BOARDS, ""));
    let site = Site::of(BOARDS, image.clone());
    let rogue = Site { cluster: Cluster::new(BOARDS, false).unwrap(), image };
    let stray = Node::Board(4);
    site.cluster.unplug(Socket::Board(4)).unwrap();
    for (of, node) in [(&site, Node::Router), (&site, stray), (&rogue, Node::Router)] {
        of.power_on(node);
    }

    // Both attacks work on a board that is connected to them: it gets an address and a number, and
    // pins that coordinator.
    let asked = Arc::new(AtomicUsize::new(0));
    let port = site.cluster.attach(4, Socket::Board(4)).unwrap();
    let server = serves(port, Mac::number(4), &asked);
    let given = format!("{}/24", SERVER.offered);
    site.wait("the server is believed", || site.addresses(stray, "eth0").contains(&given));
    assert!(asked.swap(0, Ordering::Relaxed) > 0);
    drop(server);
    rogue.wait_ready(Node::Router);
    let wire = Joined::new((&rogue, Socket::Router(1)), (&site, Socket::Board(4)));
    let wrong = own_key(&rogue);
    site.wait("the board is another's", || {
        coordinator(&site, 4) == (wrong.clone(), json!("enrolled"))
    });
    assert_eq!(site.number(stray), Some(1));
    drop(wire);

    // Now they are at two ports for boards and at the lan; the server sends unrequested offers,
    // too.
    site.wait_ready(Node::Router);
    let before = [2, 3].map(|port| dropped(&site, port));
    let port = site.cluster.attach(2, Socket::Router(2)).unwrap();
    let ends = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
    let discover = raw::transport::udp(ends, (68, 67), &raw::dhcp::discover(Mac::number(1)));
    let discover =
        raw::ethernet::ip((Mac::number(1), Mac([0xff; 6])), &raw::packet(ends, 17, &discover));
    let (_, offer) = SERVER.answer(&discover).unwrap();
    for _ in 0..10 {
        port.send(offer.as_deref().unwrap()).unwrap();
    }
    let _server = serves(port, router_card(2), &asked);
    let _at_a_port = Joined::new((&rogue, Socket::Router(2)), (&site, Socket::Router(3)));
    let _at_the_lan = Joined::new((&rogue, Socket::Router(3)), (&site, Socket::Router(LAN)));
    site.wait("what they say is dropped and counted", || {
        let now = [2, 3].map(|port| dropped(&site, port));
        now[0] > before[0] && now[1] > before[1]
    });
    // A blank board, which would pin any coordinator, and the one that has pinned the rogue.
    let board = Node::Board(1);
    site.power_on(board);
    site.cluster.plug(Socket::Router(4), Socket::Board(4)).unwrap();
    site.wait_ready(board);
    site.wait_whole(&[(board, 1)]);
    let own = own_key(&site);
    assert_ne!(own, wrong);
    assert_eq!(coordinator(&site, 1), (own.clone(), json!("enrolled")));
    assert_eq!(site.number(board), Some(1));
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody asked the server");

    // The second one gets its port's address, and reports its pinned coordinator; no other node is
    // affected.
    site.wait("it is board 4", || site.number(stray) == Some(4));
    site.wait("it does not follow another coordinator", || {
        let (coordinator, state) = coordinator(&site, 4);
        coordinator == wrong && state.as_str().unwrap().contains("sign-coordinator")
    });
    println!("{stray}: {}", coordinator(&site, 4).1);
    assert_ne!(site.row(4)["state"], "enrolled");
    site.wait_whole(&[(board, 1)]);
    let enrolled = |number: u8| rogue.row(number)["node"].clone();
    assert!(enrolled(1).is_string() && [2, 3, 4].map(enrolled) == [(); 3].map(|()| Value::Null));
}
