//! The nodes of this box, from the membership map: signed commands are relayed to them, and from
//! them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use octet_node::command::Command;
use octet_node::control::PublicKey;
use octet_node::follow;
use octet_node::limits::{Rate, RateLimiter};
use octet_node::map::{MAP, Map, Update};

use crate::gate;
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::quic::now;
use octet_messages::request::{MailboxRefusal, MailboxReply};

/// The unit whose key a node's messenger uses.
const UNIT: &str = "messenger";

/// The rate limit of relayed commands per board: a burst, and the interval in seconds.
const RELAY_RATE: Rate = Rate { burst: 30, interval: Duration::from_secs(2) };

/// More nodes than a box has.
const MAX: usize = 64;

/// The boards in the last map, with their nodes.
#[derive(Debug, Clone, Default)]
pub struct MapBoards(Arc<Mutex<Vec<(PublicKey, MailboxAddress)>>>);

impl MapBoards {
    /// Follows the map of `cluster`, whose socket is in the folder `sockets`; the messengers listen
    /// at `port`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn follow(sockets: &Path, port: u16) -> io::Result<Self> {
        let boards = Self::default();
        let known = boards.clone();
        let trouble = "cluster does not tell who is in this box";
        follow::keep(sockets.join("cluster.sock"), MAP, trouble, move |update: Update| {
            let boards = update.map.map(|map| boards_in(map.map(), port));
            *known.0.lock().unwrap_or_else(PoisonError::into_inner) = boards.unwrap_or_default();
            true
        })?;
        Ok(boards)
    }

    /// The address of the messenger of `node`.
    pub fn address(&self, node: &PublicKey) -> Option<MailboxAddress> {
        let boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        boards.iter().find(|(it, _)| it == node).map(|(_, place)| place.clone())
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether `key` is the key of one of these messengers.
    fn contains(&self, key: &PublicKey) -> bool {
        let boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        boards.iter().any(|(_, place)| place.mailbox == *key)
    }
}

/// The boards of `map` with an address. The router has none in the map.
fn boards_in(map: &Map, port: u16) -> Vec<(PublicKey, MailboxAddress)> {
    let places = map.members.iter().filter_map(|member| {
        let mailbox = member.certificate(UNIT)?.body().key;
        let addresses = member.addresses.iter().map(|it| SocketAddr::new(*it, port));
        let place = MailboxAddress { mailbox, addresses: addresses.collect() };
        (!place.addresses.is_empty()).then_some((member.node, place))
    });
    places.collect()
}

/// The commands that other boards relay to this node.
#[derive(Debug)]
pub struct RelayedCommands {
    boards: MapBoards,
    gate: PathBuf,
    /// Held while a command runs: one at a time.
    rates: Mutex<RateLimiter<PublicKey>>,
}

impl RelayedCommands {
    /// For the gate whose socket is in the folder `sockets`.
    pub fn new(boards: MapBoards, sockets: &Path) -> Self {
        let rates = Mutex::new(RateLimiter::new(RELAY_RATE, MAX));
        Self { boards, gate: sockets.join("gate.sock"), rates }
    }

    /// Runs `command` at the gate, relayed by the messenger with the key `by`.
    pub fn run(&self, by: &PublicKey, command: &str) -> MailboxReply {
        if !self.boards.contains(by) {
            return MailboxReply::Refused(MailboxRefusal::NoBoard);
        }
        let Ok(mut rates) = self.rates.try_lock() else {
            return MailboxReply::Refused(MailboxRefusal::Busy);
        };
        if !rates.allows(*by, Duration::from_secs(now())) {
            return MailboxReply::Refused(MailboxRefusal::Busy);
        }
        let Ok(signed) = Command::try_from(command.to_owned()) else {
            return MailboxReply::Refused(MailboxRefusal::Malformed);
        };
        // An honest messenger has asked its own gate before, which may have other operators.
        match gate::is_operator(&self.gate, &signed.body().operator) {
            Ok(true) => {}
            Ok(false) => return MailboxReply::Refused(MailboxRefusal::NoOperator),
            Err(_) => return MailboxReply::Refused(MailboxRefusal::Broken),
        }
        MailboxReply::Said(gate::run(&self.gate, command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;

    #[test]
    fn only_boards_of_the_box_bring_commands() {
        let folder = tempfile::tempdir().unwrap();
        let [own, other] = [(); 2].map(|()| PrivateKey::generate().unwrap().public());
        let place = MailboxAddress { mailbox: own, addresses: vec![] };
        let boards = MapBoards(Arc::new(Mutex::new(vec![(other, place)])));
        let brought = RelayedCommands::new(boards, folder.path());
        assert_eq!(brought.run(&other, "x"), MailboxReply::Refused(MailboxRefusal::NoBoard));
        // The other board is accepted, but its message is not a valid command.
        assert_eq!(brought.run(&own, "x"), MailboxReply::Refused(MailboxRefusal::Malformed));
        let so_many = (1..)
            .take_while(|_| brought.run(&own, "x") != MailboxReply::Refused(MailboxRefusal::Busy));
        assert!(so_many.count() < 2 * RELAY_RATE.burst as usize);
    }
}
