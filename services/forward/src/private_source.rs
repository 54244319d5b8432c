//! Private paths: their source shows the end a key and an address that exist for this path alone.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

use octet_node::address::NodeAddress;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;

use crate::graph::CandidatePath;
use crate::neighbour::UNIT;

/// The minimum number of relays, unless the request says otherwise: with one, a single node knows both ends.
pub const RELAYS: u64 = 2;

/// The maximum number of private paths of this node.
pub const MAX: usize = 8;

/// A node with a key of its own that nobody knows: no map and no announcement has it, and it is in memory only.
///
/// `issued` is now, in seconds since 1970. `None`: the kernel provides no randomness.
pub fn throw_away(issued: u64) -> Option<Certified> {
    let (node, key) = (PrivateKey::generate().ok()?, PrivateKey::generate().ok()?);
    let unit = UNIT.parse().ok()?;
    // A node's first key has the epoch 1.
    let statement = KeyStatement { node: node.public(), unit, key: key.public(), epoch: 1, issued };
    let certificate = Certificate::sign(statement, &node).ok()?;
    Some(Certified { certificate, key: Arc::new(key) })
}

/// The address of the node that has this key.
pub fn address(own: &Certified) -> Ipv6Addr {
    NodeAddress::of(&own.certificate.body().node).ip()
}

/// One of these paths by the number `random`: always the same last relay would be a mark of this node. The end
/// learns the last relay, so that is no node of the own box `members`, unless the end is.
pub fn choose(
    mut paths: Vec<CandidatePath>,
    members: &BTreeSet<NodeAddress>,
    random: u8,
) -> Option<Vec<NodeAddress>> {
    paths.retain(|path| match path.hops[..] {
        [.., last, end] => members.contains(&end) || !members.contains(&last),
        _ => false,
    });
    let count = paths.len().max(1);
    let chosen = paths.into_iter().nth(usize::from(random) % count);
    chosen.map(|path| path.hops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introduction::is_accepted;
    use octet_node::control::PublicKey;
    use octet_node::map::{Map, MapVersion};

    #[test]
    fn no_two_have_anything_in_common() {
        let [one, other] = [(); 2].map(|()| throw_away(7).unwrap());
        let keys = |own: &Certified| {
            let said = own.certificate.body().clone();
            assert_eq!(said.key, own.key.public());
            [said.node, said.key]
        };
        let all: BTreeSet<_> = [keys(&one), keys(&other)].concat().into_iter().collect();
        assert_eq!(all.len(), 4);
        assert_ne!(address(&one), address(&other));
        // An end accepts it as it does any node that is not of its box.
        let map = Map::new(PublicKey::new([1; 32]), MapVersion::default(), vec![], vec![]);
        let read = Certificate::from_bytes(&one.certificate.to_bytes()).unwrap();
        assert!(is_accepted(&read, &map));
    }

    #[test]
    fn the_last_relay_is_none_of_the_box() {
        let node = |number| NodeAddress::of(&PublicKey::new([number; 32]));
        let path = |hops: &[u8]| CandidatePath {
            hops: hops.iter().copied().map(node).collect(),
            length: 1,
            capacity: 1,
            price: 0,
        };
        let paths = || vec![path(&[2, 3, 9]), path(&[2, 7, 9]), path(&[2, 8, 9]), path(&[9])];
        let members = BTreeSet::from([1, 2, 3].map(node));
        let chosen = |random| choose(paths(), &members, random).unwrap();
        let all: BTreeSet<_> = (0..=255).map(chosen).collect();
        assert_eq!(all, [path(&[2, 7, 9]).hops, path(&[2, 8, 9]).hops].into());
        assert_eq!(choose(vec![path(&[2, 3, 9])], &members, 0), None);
        assert_eq!(choose(vec![path(&[9])], &members, 0), None);
        // Between two nodes of the box there are no others.
        let members = BTreeSet::from([1, 2, 3, 9].map(node));
        assert_eq!(choose(vec![path(&[2, 3, 9])], &members, 5), Some(path(&[2, 3, 9]).hops));
    }
}
