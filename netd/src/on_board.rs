//! What units of one node may send to each other over the network: a unit reaches its own ports and
//! those that its unit file names (`reaches`), and no others.
//!
//! Each unit has its own user, and the kernel knows the user of a sending socket. The rules are
//! therefore at the output hook, on the device `lo`, which carries all packets to the node's own
//! addresses.

use std::collections::BTreeSet;

use octet_appliance::{Port, Unit};

use crate::router::chain::{Declared, NftChain};
use crate::router::table::Set;

/// Users, and the ports that each may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnBoard(BTreeSet<(u32, Port)>);

impl OnBoard {
    pub fn of(units: &[Unit]) -> Self {
        let mut reached = BTreeSet::new();
        for unit in units {
            let uid = unit.user.user().uid;
            reached.extend(unit.ports.values().map(|port| (uid, *port)));
            for (whom, names) in &unit.reaches {
                let ports = units.iter().find(|other| other.name == *whom).map(|it| &it.ports);
                let ports = ports.into_iter().flatten().filter(|(name, _)| names.contains(name));
                reached.extend(ports.map(|(_, port)| (uid, *port)));
            }
        }
        Self(reached)
    }

    /// The set [`SET`].
    pub fn set(&self) -> Set {
        Set {
            name: SET.to_owned(),
            keyword: "set",
            kind: KIND.to_owned(),
            counts: false,
            elements: self.elements(),
        }
    }

    fn elements(&self) -> Vec<String> {
        let element = |(uid, port): &(u32, Port)| {
            format!("{uid} . {} . {}", port.protocol.as_str(), port.number)
        };
        self.0.iter().map(element).collect()
    }
}

/// The set of allowed pairs of user and port.
pub const SET: &str = "own_ports";

pub const KIND: &str = "type uid . inet_proto . inet_service";

const CHAIN: &str = "on_board";

/// Declarations that the table needs first.
pub const FRAME: [Declared; 2] = [Declared::Counter("denied_on_board"), Declared::Chain(CHAIN)];

/// Answers belong to flows that were allowed.
pub fn chain() -> (&'static str, NftChain) {
    let rules = [
        "ct state vmap { established : accept, related : accept }",
        "meta skuid . meta l4proto . th dport @own_ports accept",
        "counter name denied_on_board drop",
    ];
    (CHAIN, rules.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::UnitSource;

    fn unit(name: &str, user: u8, lines: &str) -> Unit {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-{user}\"\n{lines}\nsandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    }

    #[test]
    fn own_ports_and_named_ones() {
        let units = [
            unit("web", 1, "ports.http = \"tcp/80\"\nports.admin = \"tcp/81\""),
            unit("friend", 2, "reaches.web = [\"http\"]\nports.talk = \"udp/7\""),
            unit("stranger", 3, ""),
        ];
        let expected = ["901 . tcp . 80", "901 . tcp . 81", "902 . tcp . 80", "902 . udp . 7"];
        assert_eq!(OnBoard::of(&units).elements(), expected);
    }
}
