//! The coordinator of a box whose router runs OpenWrt, and the addresses from which it accepts
//! enrolment.

use std::net::{Ipv4Addr, Ipv6Addr};

use octet_appliance::{Board, Cluster};

/// The addresses of one board.
pub type Addresses = (Ipv4Addr, Ipv6Addr);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    number: u8,
    others: Vec<Addresses>,
}

impl Manager {
    /// The coordinator in the settings, if it is a board.
    pub fn of(cluster: &Cluster, boards: &[Board]) -> Option<Self> {
        let number = cluster.manager(boards)?;
        let others = (1..=cluster.boards).filter(|other| *other != number);
        Some(Self { number, others: others.map(|other| cluster.addresses(other)).collect() })
    }

    /// The addresses from which the node of this number accepts enrolment; none if it is not the
    /// coordinator.
    pub fn enrolment_sources(&self, number: Option<u8>) -> &[Addresses] {
        if number == Some(self.number) { &self.others } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_other_boards_and_only_there() {
        let cluster = |router: &str| {
            let cluster = json!({"boards": 4, "router": router});
            serde_json::from_value::<Cluster>(cluster).unwrap()
        };
        let boards = json!([{"number": 2, "role": "manager"}]);
        let boards: Vec<Board> = serde_json::from_value(boards).unwrap();
        let manager = Manager::of(&cluster("openwrt"), &boards).unwrap();
        let others = |number| {
            let all = manager.enrolment_sources(number).iter();
            all.map(|(v4, v6)| format!("{v4} {v6}")).collect::<Vec<_>>()
        };
        let expected = [1, 3, 4].map(|n| format!("10.20.{n}.2 fd6f:6374:6574:{n}::2"));
        assert_eq!(others(Some(2)), expected);
        for nobody in [None, Some(0), Some(1), Some(3)] {
            assert!(others(nobody).is_empty());
        }
        assert_eq!(Manager::of(&cluster("openwrt"), &[]), None);
        assert_eq!(Manager::of(&cluster("octet"), &boards), None);
    }
}
