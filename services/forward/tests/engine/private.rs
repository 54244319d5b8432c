//! A private path: no node but the first relay receives anything that has a key or an address of the source.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

use octet_forward::engine::{PathNumber, PathState, ShownSource};
use octet_forward::exchange;
use octet_forward::introduction::{EndRole, Inner, IntroductionContext, verify_introduction};
use octet_forward::neighbour::UNIT;
use octet_forward::private_source::{address, throw_away};
use octet_node::address::NodeAddress;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;

use crate::net::Net;

/// The source, three relays, and the end.
const NODES: usize = 5;
const SOURCE: usize = 0;
const END: usize = 4;

/// The key of a node's `forward`, which is certified by `identity`.
fn identity(seed: u8) -> Certified {
    let node = PrivateKey::from_seed([seed; 32]).unwrap();
    let key = PrivateKey::from_seed([seed + 100; 32]).unwrap();
    let (unit, issued) = (UNIT.parse().unwrap(), 1_700_000_000);
    let statement = KeyStatement { node: node.public(), unit, key: key.public(), epoch: 3, issued };
    Certified { certificate: Certificate::sign(statement, &node).unwrap(), key: Arc::new(key) }
}

/// What tells who a node is: its key, its address, the key of its `forward` in both forms, and its certificate.
fn needles(own: &Certified) -> BTreeMap<&'static str, Vec<u8>> {
    let said = own.certificate.body();
    let links = exchange::public(&own.key.exchange_secret());
    let address = address(own);
    [
        ("key", said.node.as_bytes().to_vec()),
        ("address", address.octets().to_vec()),
        ("address in text", address.to_string().into_bytes()),
        ("key of forward", said.key.as_bytes().to_vec()),
        ("key of links", links.to_vec()),
        ("certificate", own.certificate.to_bytes()),
    ]
    .into()
}

/// Which of the needles are in what a node has received.
fn found(own: &Certified, captured: &[Vec<u8>]) -> Vec<&'static str> {
    let has = |needle: &[u8]| {
        captured.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    needles(own).into_iter().filter(|(_, needle)| has(needle)).map(|(name, _)| name).collect()
}

/// All nodes, and what each has received.
struct Captured {
    net: Net,
    identities: Vec<Certified>,
    /// What came within paths; relays have it encrypted.
    within: Vec<Vec<Vec<u8>>>,
}

impl Captured {
    fn new() -> Self {
        let identities: Vec<_> = (0..NODES).map(|node| identity(node as u8 + 1)).collect();
        let mut net = Net::new(NODES, 7);
        net.introduces = false;
        for (node, own) in identities.iter().enumerate() {
            net.set_address(node, NodeAddress::of(&own.certificate.body().node));
        }
        for node in 1..NODES {
            net.link(node - 1, node);
        }
        Self { net, identities, within: vec![vec![]; NODES] }
    }

    /// Introduces the node `from` to the node `to` over their ends of a path, as the daemon does. Returns who it is
    /// for the receiver.
    fn introduce(&mut self, from: (usize, PathNumber), to: (usize, PathNumber)) -> Ipv6Addr {
        let end = |(node, path): (usize, PathNumber)| self.net.engine(node).path_end(path).unwrap();
        let shown = |(node, path): (usize, PathNumber)| {
            self.net.engine(node).shown_as(path, Some(&self.identities[node])).unwrap()
        };
        // The end answers whoever has introduced itself.
        let other = end(from).node.unwrap_or_else(|| address(&self.identities[to.0]));
        let bytes = Inner::introduce_on(end(from), shown(from), other).to_bytes();
        let Some(Inner::Introduction { certificate, signature, .. }) = Inner::from_bytes(&bytes)
        else {
            panic!()
        };
        let node = NodeAddress::of(&certificate.body().node);
        let context = IntroductionContext {
            role: EndRole::of(end(to)).other(),
            nodes: (node.ip(), address(shown(to))),
            keys: (end(to).key, exchange::public(&end(to).secret)),
        };
        assert!(verify_introduction(&certificate, &signature, &context));
        self.within[to.0].push(bytes);
        self.net.set_peer_address(to.0, to.1, node);
        node.ip()
    }

    /// A path with this source from its set-up to its end. Returns who the source is for the end.
    fn path(&mut self, source: ShownSource) -> Ipv6Addr {
        self.net.source = source;
        let path = self.net.request_path_at(SOURCE, &[1, 2, 3, END], 5000);
        self.net.run();
        assert_eq!(self.net.state(SOURCE, path), Some(PathState::Up));
        let end = self.net.end_at(END).unwrap();
        let seen = self.introduce((SOURCE, path), (END, end));
        self.introduce((END, end), (SOURCE, path));
        assert_eq!(self.net.carry(SOURCE, path), Ok((END, end)));
        // It is renewed, and changed.
        self.net.tick(250);
        self.net.set_rate(SOURCE, path, 6000);
        self.net.run();
        // What the end and the relays keep of it counts, too.
        for node in 2..NODES {
            let kept = self.net.persisted(node).map(|(_, bytes)| bytes);
            self.within[node].extend(kept);
            let (counters, _) = self.net.path_counters(node);
            self.within[node].push(format!("{counters:?}").into_bytes());
        }
        let outer = self.net.engine(SOURCE).path_end(path).unwrap().outer();
        self.within[END].push(format!("{outer:?}").into_bytes());
        self.net.drop_path(SOURCE, path);
        self.net.run();
        assert!((0..NODES).all(|node| self.net.is_clean(node)));
        seen
    }

    /// What a node has received: of its neighbours, and within paths that end there.
    fn received(&self, node: usize) -> Vec<Vec<u8>> {
        let sent = self.net.sent.iter().filter(|(_, to, _)| *to == node);
        sent.map(|(.., message)| message.to_bytes()).chain(self.within[node].clone()).collect()
    }
}

#[test]
fn no_node_but_the_first_relay_learns_the_source() {
    let mut with = Captured::new();
    let own = throw_away(with.net.now).unwrap();
    let shown = ShownSource::ThrowAway(Box::new(own.clone()));
    assert_eq!(with.path(shown), address(&own));
    let source = &with.identities[SOURCE];
    for node in 2..NODES {
        let received = with.received(node);
        assert!(received.len() > 4, "{}", received.len());
        assert_eq!(found(source, &received), [""; 0], "node {node}");
    }
    // The end knows the throw-away key, and no relay does.
    let known = ["address", "certificate", "key", "key of forward"];
    assert_eq!(found(&own, &with.received(END)), known);
    assert!((1..END).all(|relay| found(&own, &with.received(relay)).is_empty()));

    // Without it the end learns all of that of the source.
    let mut without = Captured::new();
    let seen = without.path(ShownSource::Node);
    let source = &without.identities[SOURCE];
    assert_eq!(seen, address(source));
    assert_eq!(found(source, &without.received(END)), known);
    assert!((2..END).all(|relay| found(source, &without.received(relay)).is_empty()));
}

/// A daemon that starts again has no key of a private path any more: it never goes on as the node itself.
#[test]
fn a_private_path_ends_with_the_daemon() {
    for is_private in [true, false] {
        let mut net = Net::chain(4);
        if is_private {
            net.source = ShownSource::ThrowAway(Box::new(throw_away(net.now).unwrap()));
        }
        let path = net.request_path(SOURCE, &[1, 2, 3]).unwrap();
        net.run();
        net.restart(SOURCE);
        let own = identity(1);
        assert_eq!(net.engine(SOURCE).is_private(path), is_private);
        assert_eq!(net.engine(SOURCE).shown_as(path, Some(&own)).is_none(), is_private);
        net.drop_lost(SOURCE);
        net.run();
        assert_eq!((0..4).all(|node| net.is_clean(node)), is_private);
        assert_eq!(net.state(SOURCE, path).is_none(), is_private);
    }
}
