//! The gates of the boards behind this node, from the membership map. A thread follows the map, so
//! that no other task waits for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use octet_node::control::{Failure, FailureCode, PublicKey};
use octet_node::follow;
use octet_node::map::{MAP, Map, Member, Update};
use serde_json::{Value, json};
use tokio::sync::watch;

pub struct BoardGates {
    map: watch::Receiver<Option<Map>>,
    port: u16,
}

/// A board's gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardGate {
    pub address: SocketAddr,
    /// The board's entry in the map, which tells the client which node to expect.
    pub entry: Value,
}

impl BoardGates {
    /// Follows the map of the unit at `socket`; the gates listen at `port`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn keep(socket: PathBuf, port: u16) -> io::Result<Self> {
        let (sender, map) = watch::channel(None);
        let trouble = "cluster does not tell which boards there are";
        follow::keep(socket, MAP, trouble, move |update: Update| {
            sender.send_replace(update.map.map(|signed| signed.map().clone()));
            !sender.is_closed()
        })?;
        Ok(Self { map, port })
    }

    /// The gate of board `number`, if this node, `own`, is the coordinator: other nodes reach only
    /// themselves. A coordinator that is a board is reached by its number, too.
    ///
    /// # Errors
    /// This node is not the coordinator, or there is no such board.
    pub fn find(&self, own: Option<PublicKey>, number: u64) -> Result<BoardGate, Failure> {
        let map = self.map.borrow();
        let map = map.as_ref().filter(|map| Some(map.coordinator) == own).ok_or_else(|| {
            Failure::new(
                FailureCode::Failed,
                "this node does not hold the map of a box, so there is no board behind it",
                "ask the router, or the board with the role `manager`, with its address after --box; `cluster show` tells how this node is",
            )
        })?;
        find(map, number, self.port).ok_or_else(|| {
            Failure::new(
                FailureCode::NotFound,
                format!("board {number} is not in the map of this box"),
                "`cluster show` tells how each board is",
            )
        })
    }
}

fn find(map: &Map, number: u64, port: u16) -> Option<BoardGate> {
    // Number 0 is the router, which is not a board.
    let number = u8::try_from(number).ok().filter(|number| *number > 0)?;
    let member = map.member(number)?;
    let v4 = member.addresses.iter().find_map(|address| match address {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    })?;
    let Member { node, record, .. } = member;
    let entry =
        json!({ "board": number, "node": node, "coordinator": map.coordinator, "record": record });
    Some(BoardGate { address: SocketAddr::from((v4, port)), entry })
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::map::MapVersion;

    #[test]
    fn boards_of_the_map_and_no_others() {
        let [router, board] = [1, 2].map(|key| PublicKey::new([key; 32]));
        let member = |number, node, addresses: &[&str]| Member {
            number,
            node,
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            certificates: vec![],
            record: None,
            drained: false,
        };
        let members =
            vec![member(0, router, &["10.20.0.1"]), member(3, board, &["fd00::2", "10.20.3.2"])];
        let map = Map::new(router, MapVersion::default(), members, vec![]);
        let found = find(&map, 3, 4040).unwrap();
        assert_eq!(found.address.to_string(), "10.20.3.2:4040");
        assert_eq!(found.entry["node"], json!(board));
        // Refused: the router itself, a board that does not exist, and numbers that overflow.
        for number in [0, 1, 256 + 3, u64::MAX] {
            assert_eq!(find(&map, number, 4040), None, "{number}");
        }
        // A coordinator that is a board is treated like any board.
        let members = vec![member(2, router, &["10.20.2.2"]), member(3, board, &["10.20.3.2"])];
        let managed = Map::new(router, MapVersion::default(), members, vec![]);
        for (number, node) in [(2, router), (3, board)] {
            let found = find(&managed, number, 4040).unwrap();
            assert_eq!(found.address.to_string(), format!("10.20.{number}.2:4040"));
            assert_eq!(found.entry["node"], json!(node));
        }
        let (sender, map) = watch::channel(Some(map));
        let boards = BoardGates { map, port: 4040 };
        assert!(boards.find(Some(router), 3).is_ok());
        for own in [None, Some(board)] {
            assert!(boards.find(own, 3).unwrap_err().message.contains("does not hold the map"));
        }
        sender.send_replace(None);
        assert!(boards.find(Some(router), 3).is_err());
    }
}
