//! The nodes that may have an object: those with a `cache` key in the membership map.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use iroh::{EndpointAddr, EndpointId, TransportAddr};
use octet_node::control::PublicKey;
use octet_node::follow;
use octet_node::map::{MAP, Map, Update};
use tokio::sync::watch;

/// The unit whose key serves objects.
pub const UNIT: &str = "cache";

pub const PORT: u16 = 4433;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNode {
    pub number: u8,
    pub node: PublicKey,
    /// The key of its `cache`.
    pub key: PublicKey,
    pub addresses: Vec<SocketAddr>,
    /// Whether an operator has drained the board.
    pub is_drained: bool,
}

/// What `cluster` says.
#[derive(Debug)]
pub struct FollowedMap {
    pub peers: watch::Receiver<Vec<PeerNode>>,
    /// The number of this node.
    pub number: watch::Receiver<Option<u8>>,
}

/// The nodes of the newest map from `cluster`, which listens at `socket`, and the number of this one.
///
/// # Errors
/// No thread can be started.
pub fn follow(socket: PathBuf) -> io::Result<FollowedMap> {
    let (sender, peers) = watch::channel(vec![]);
    let (own, number) = watch::channel(None);
    follow::keep(socket, MAP, "cluster does not tell who has objects", move |update: Update| {
        sender.send_replace(update.map.map(|map| from_map(map.map())).unwrap_or_default());
        own.send_if_modified(|it| std::mem::replace(it, update.number) != update.number);
        true
    })?;
    Ok(FollowedMap { peers, number })
}

impl PeerNode {
    /// The address for iroh; `None` if the key is not a point of the curve.
    pub fn address(&self) -> Option<EndpointAddr> {
        let id = EndpointId::from_bytes(self.key.as_bytes()).ok()?;
        let addrs = self.addresses.iter().map(|at| TransportAddr::Ip(*at)).collect();
        Some(EndpointAddr { id, addrs })
    }
}

/// The nodes of `map`, this one included. The router has no address in the map: it may ask, and is asked for nothing.
pub fn from_map(map: &Map) -> Vec<PeerNode> {
    let members = map.members.iter().filter_map(|member| {
        let key = member.certificate(UNIT)?.body().key;
        let at = |address: &IpAddr| SocketAddr::new(*address, PORT);
        let addresses = member.addresses.iter().map(at).collect();
        let (number, node, is_drained) = (member.number, member.node, member.drained);
        Some(PeerNode { number, node, key, addresses, is_drained })
    });
    members.collect()
}

/// The order in which nodes are asked for the object whose hash begins with `first`: rotated per
/// object, to spread the load.
pub fn rotate<T>(mut peers: Vec<T>, first: u8) -> Vec<T> {
    if !peers.is_empty() {
        let at = usize::from(first) % peers.len();
        peers.rotate_left(at);
    }
    peers
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::certificate::{Certificate, KeyStatement};
    use octet_node::key::PrivateKey;
    use octet_node::map::{MapVersion, Member};

    fn member(number: u8, addresses: &[&str], units: &[&str]) -> (Member, PublicKey) {
        let [node, key] = [(); 2].map(|()| PrivateKey::generate().unwrap());
        let certificate = |unit: &&str| {
            let (unit, of) = (unit.parse().unwrap(), node.public());
            let statement = KeyStatement { node: of, unit, key: key.public(), epoch: 1, issued: 1 };
            Certificate::sign(statement, &node).unwrap()
        };
        let member = Member {
            number,
            node: node.public(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            certificates: units.iter().map(certificate).collect(),
            record: None,
            drained: false,
        };
        (member, key.public())
    }

    #[test]
    fn those_that_have_a_cache() {
        let (router, of_router) = member(0, &[], &["cache"]);
        let (one, key) = member(1, &["10.20.1.2", "fd00::1"], &["cache", "cluster"]);
        let (two, _) = member(2, &["10.20.2.2"], &["cluster"]);
        let coordinator = router.node;
        let version = MapVersion { epoch: 1, sequence: 1 };
        let map = Map::new(coordinator, version, vec![router, one.clone(), two], vec![]);
        let addresses = ["10.20.1.2:4433", "[fd00::1]:4433"].map(|at| at.parse().unwrap());
        let expected = PeerNode {
            number: 1,
            node: one.node,
            key,
            addresses: addresses.to_vec(),
            is_drained: false,
        };
        let router = PeerNode {
            number: 0,
            node: coordinator,
            key: of_router,
            addresses: vec![],
            is_drained: false,
        };
        assert_eq!(from_map(&map), [router, expected.clone()]);
        let address = expected.address().unwrap();
        assert_eq!((address.id.as_bytes(), address.addrs.len()), (key.as_bytes(), 2));
    }

    #[test]
    fn each_is_the_first_for_some_objects() {
        let peers: Vec<PeerNode> = (1..=3u8)
            .map(|number| {
                let key = PublicKey::new([number; 32]);
                PeerNode { number, node: key, key, addresses: vec![], is_drained: false }
            })
            .collect();
        let order =
            |first| rotate(peers.clone(), first).iter().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!([order(0), order(4), order(8)], [[1, 2, 3], [2, 3, 1], [3, 1, 2]]);
        assert!(rotate(Vec::<PeerNode>::new(), 7).is_empty());
    }
}
