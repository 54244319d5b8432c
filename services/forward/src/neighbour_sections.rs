//! `[[neighbour]]`: links to nodes of other boxes, and the local names of these nodes.

use std::collections::BTreeMap;

use octet_appliance::Neighbour;
use octet_node::address::NodeAddress;
use octet_node::control::PublicKey;
use sha2::{Digest, Sha256};

use crate::engine::LinkNumber;

/// The lowest number of such a link; the at most 32 boards have lower ones.
const FIRST: u16 = 100;

/// The upper bound of link numbers.
const NUMBERS: u32 = 1 << 16;

/// The prefix of a node's key in the hash that gives its link number.
const PREFIX: &[u8] = b"octet line 1\0";

/// The `[[neighbour]]` sections of a box.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeighbourSections(Vec<Neighbour>);

impl NeighbourSections {
    /// Sorts the sections: their order in the file has no meaning.
    pub fn new(mut sections: Vec<Neighbour>) -> Self {
        sections.sort_unstable_by_key(|line| line.descriptor.node());
        Self(sections)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sections for the board of this number; 0 is the router, and `None` a box without boards.
    pub fn for_board(&self, number: Option<u8>) -> impl Iterator<Item = &Neighbour> {
        self.0.iter().filter(move |line| line.is_of(number))
    }

    /// The same, with link numbers. A number is derived from the neighbour's key, so that it does not depend on
    /// other sections; on a collision the higher key gets the next free number.
    pub fn numbered(&self, number: Option<u8>) -> BTreeMap<LinkNumber, &Neighbour> {
        let mut numbered = BTreeMap::new();
        for line in self.for_board(number) {
            let mut link = LinkNumber(preferred_number(&line.descriptor.node()));
            while numbered.contains_key(&link) {
                link = LinkNumber(link.0.checked_add(1).unwrap_or(FIRST));
            }
            numbered.insert(link, line);
        }
        numbered
    }

    /// The display name of a node.
    pub fn name(&self, node: NodeAddress) -> Option<&str> {
        let line = self.0.iter().find(|line| NodeAddress::of(&line.descriptor.node()) == node);
        line.map(|line| line.name.as_str())
    }

    /// Whether a section has this node.
    pub fn has(&self, node: &PublicKey) -> bool {
        self.0.iter().any(|line| line.descriptor.node() == *node)
    }

    /// The node with this display name.
    pub fn find(&self, name: &str) -> Option<NodeAddress> {
        let line = self.0.iter().find(|line| line.name.as_str() == name);
        line.map(|line| NodeAddress::of(&line.descriptor.node()))
    }
}

/// The preferred link number for this node.
fn preferred_number(node: &PublicKey) -> u16 {
    let digest = Sha256::new().chain_update(PREFIX).chain_update(node.as_bytes()).finalize();
    let drawn = digest.first_chunk().copied().map_or(0, u32::from_be_bytes);
    // The value has 16 bits, and the remainder is below the count of numbers.
    let above = drawn % (NUMBERS - u32::from(FIRST));
    FIRST + u16::try_from(above).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use octet_appliance::PeerDescriptor;
    use octet_node::certificate::{Certificate, KeyStatement};
    use octet_node::key::PrivateKey;
    use proptest::prelude::*;

    /// A descriptor of a node with a new key, whose `forward` has this one.
    pub(crate) fn descriptor(key: PublicKey) -> PeerDescriptor {
        let node = PrivateKey::generate().unwrap();
        let unit = crate::neighbour::UNIT.parse().unwrap();
        let statement = KeyStatement { node: node.public(), unit, key, epoch: 1, issued: 0 };
        let certificate = Certificate::sign(statement, &node).unwrap();
        let descriptor = PeerDescriptor::from_bytes(&certificate.to_bytes()).unwrap();
        // Both read the same of it.
        assert_eq!(String::from(certificate.clone()), descriptor.to_string());
        assert_eq!((descriptor.node(), descriptor.key()), (node.public(), key));
        descriptor
    }

    pub(crate) fn section(name: &str, board: Option<u8>, at: Option<&str>) -> Neighbour {
        let descriptor = descriptor(PrivateKey::generate().unwrap().public());
        let at = at.map(|at| at.to_owned().try_into().unwrap());
        let name = name.parse().unwrap();
        Neighbour {
            name,
            descriptor,
            at,
            board,
            price: None,
            max_price: None,
            object_price: None,
            max_object_price: None,
            ledger: false,
        }
    }

    #[test]
    fn each_node_has_its_own_lines() {
        let lines = [
            section("hill", None, None),
            section("lake", Some(3), None),
            section("wood", None, None),
        ];
        let all = NeighbourSections::new(lines.into());
        let of = |number| {
            let mut names: Vec<_> = all.for_board(number).map(|line| line.name.as_str()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(of(Some(0)), ["hill", "wood"]);
        assert_eq!(of(None), ["hill", "wood"]);
        assert_eq!(of(Some(3)), ["lake"]);
        assert!(of(Some(4)).is_empty());
        let lake = all.find("lake").unwrap();
        assert_eq!((all.name(lake), all.find("pond")), (Some("lake"), None));
    }

    /// If all nodes hash to one number, each section still gets its own.
    #[test]
    fn of_two_with_one_number_the_second_has_the_next() {
        let lines: Vec<_> = (0..2000).map(|it| section(&format!("n{it}"), None, None)).collect();
        let mut drawn_twice = 0;
        let mut before = BTreeMap::new();
        for line in &lines {
            drawn_twice += usize::from(
                before.insert(preferred_number(&line.descriptor.node()), line).is_some(),
            );
        }
        let numbered = NeighbourSections::new(lines);
        let numbered = numbered.numbered(None);
        assert_eq!(numbered.len(), 2000);
        assert!(drawn_twice > 5, "{drawn_twice}");
        let others = numbered
            .iter()
            .filter(|(link, line)| preferred_number(&line.descriptor.node()) != link.0);
        assert!((drawn_twice..2 * drawn_twice + 20).contains(&others.count()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        /// Neither the order of sections nor those of others change a number, and no number is a board's.
        #[test]
        fn numbers_stay(count in 1usize..33, turn in 0usize..33, gone in 0usize..33) {
            let mut lines: Vec<_> = (0..count).map(|it| section(&format!("n{it}"), None, None)).collect();
            let of = |lines: &[Neighbour]| -> BTreeMap<String, LinkNumber> {
                let lines = NeighbourSections::new(lines.to_vec());
                let numbered = lines.numbered(Some(0)).into_iter();
                numbered.map(|(link, line)| (line.name.to_string(), link)).collect()
            };
            let before = of(&lines);
            prop_assert_eq!(before.len(), count);
            prop_assert!(before.values().all(|link| link.0 >= FIRST));
            lines.rotate_left(turn % count);
            lines.push(section("other", Some(1), None));
            prop_assert_eq!(&of(&lines), &before);
            // Two nodes collide in one of a hundred runs; the second then gets another number.
            let drawn: std::collections::BTreeSet<_> = lines.iter().map(|it| preferred_number(&it.descriptor.node())).collect();
            prop_assume!(drawn.len() == lines.len());
            let gone = lines.remove(gone % count);
            for (name, link) in of(&lines) {
                prop_assert!(name != gone.name.to_string() && before[&name] == link);
            }
        }

        #[test]
        fn any_key_has_a_number(node: [u8; 32]) {
            prop_assert!(preferred_number(&PublicKey::new(node)) >= FIRST);
        }
    }
}
