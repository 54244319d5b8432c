//! Connections to a board through the gate of its router. TLS is end to end with the board's own
//! gate, so that the router can neither read nor forge anything.

use std::fmt;

use octet_control::{Client, PublicKey};
use octet_node::hello::GATE;
use octet_node::key::PrivateKey;
use octet_node::record::SeatRecord;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Map, Value};

use crate::boxes::Boxes;
use crate::remote::{
    PromptAnswer, RemoteError, RemoteStream, TIMEOUT, UnverifiedConnection, check_not_revoked,
    confirm, handshake, set_timeout,
};

pub type Through = StreamOwned<ClientConnection, RemoteStream>;

/// A board on the command line: `N` or `N=KEY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardArgument {
    pub number: u8,
    /// The board's node, if given.
    pub key: Option<PublicKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no board: write its number, or NUMBER=did:key:…")]
pub struct InvalidBoard(String);

impl std::str::FromStr for BoardArgument {
    type Err = InvalidBoard;

    fn from_str(text: &str) -> Result<Self, InvalidBoard> {
        let invalid = || InvalidBoard(text.to_owned());
        let (number, key) = match text.split_once('=') {
            Some((number, key)) => (number, Some(key.parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let digits = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        let number = number.parse().ok().filter(|_| digits).ok_or_else(invalid)?;
        Ok(Self { number, key })
    }
}

impl fmt::Display for BoardArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}

/// Asks the box `of`, which `client` is connected to, to relay the connection to `board`, and
/// verifies the board's key: it must be the one in `board`, or vouched for by an owner, or the same
/// as before, or confirmed by the user. Returns the connection and the key.
///
/// # Errors
/// Verification fails, or the board is unreachable. No request was sent to it.
pub fn connect(
    mut client: Client<RemoteStream>,
    of: PublicKey,
    board: BoardArgument,
    key: &PrivateKey,
    boxes: &mut Boxes,
) -> Result<(Client<Through>, PublicKey), RemoteError> {
    let number = board.number;
    let mut args = Map::new();
    args.insert("board".to_owned(), number.into());
    client.set_unit(GATE.parse().ok());
    let entry = client.call("relay", args)?;
    let no_gate = |problem: String| RemoteError::NoGate(format!("board {number}"), problem);
    let stream = client.into_stream().ok_or_else(|| no_gate("it spoke too soon".into()))?;
    let broken = |error: std::io::Error| no_gate(error.to_string());
    set_timeout(&stream.sock, Some(TIMEOUT)).map_err(broken)?;

    let own = [key.public()];
    let owners = [&own, boxes.owners(of)].concat();
    let vouched = || verify_record(&entry, of, number, &owners);
    let meant = board.key.or_else(vouched).or_else(|| boxes.board(of, number));
    meant.map_or(Ok(()), |node| check_not_revoked(boxes, node))?;
    let UnverifiedConnection { stream, hello, peer } = handshake(stream, key).map_err(no_gate)?;
    let other = |why| RemoteError::WrongBoard(number, why);
    let node = match meant {
        Some(node) => node,
        None => {
            let node = hello.node(peer).map_err(other)?.0;
            check_not_revoked(boxes, node)?;
            match confirm(&format!("Board {number}"), node) {
                PromptAnswer::Yes => node,
                PromptAnswer::No => return Err(RemoteError::Declined(format!("board {number}"))),
                PromptAnswer::Nobody => return Err(RemoteError::UnknownBoard(number, node)),
            }
        }
    };
    let epoch = hello.check(peer, node, boxes.key_epoch(node)).map_err(other)?;
    boxes.remember_board(of, number, node, Some(epoch))?;
    // Verification is over; the time of an answer is not limited.
    set_timeout(&stream.sock.sock, None).map_err(broken)?;
    Ok((Client::new(stream), node))
}

/// The node of board `number` of the box `of`, if its `entry` in the map has a record signed by one
/// of `owners`. An entry without a record is only the coordinator's claim, which is not accepted.
fn verify_record(
    entry: &Value,
    of: PublicKey,
    number: u8,
    owners: &[PublicKey],
) -> Option<PublicKey> {
    let record = SeatRecord::try_from(entry.get("record")?.as_str()?.to_owned()).ok()?;
    let seat = record.body();
    let fits = (seat.number, seat.coordinator) == (number, of) && owners.contains(&seat.owner);
    fits.then_some(seat.node)
}

#[cfg(test)]
pub mod tests;
