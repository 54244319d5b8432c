//! Vouching: an owner signs which node a board is.

use std::io::{Read, Write};

use octet_control::{Client, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::map::CLUSTER;
use octet_node::record::{Seat, SeatRecord};
use serde_json::{Map, Value, json};

use crate::board::BoardArgument;
use crate::boxes::Boxes;
use crate::remote::{PromptAnswer, RemoteError, check_not_revoked, confirm};

/// Signs with the owner's `key` which node `board` of the box `of` is, and stores the record in the
/// box's map. `client` is connected to the box. Returns the node.
///
/// # Errors
/// The node is not the expected one, or the box refuses the record.
pub fn vouch<S: Read + Write>(
    client: &mut Client<S>,
    of: PublicKey,
    board: BoardArgument,
    key: &PrivateKey,
    boxes: &mut Boxes,
) -> Result<PublicKey, RemoteError> {
    let number = board.number;
    client.set_unit(CLUSTER.parse().ok());
    let shown = client.call("show", object(json!({ "number": number.to_string() })))?;
    let (node, verb) = find_node(&shown).ok_or(RemoteError::NoTerminal(number))?;
    check_not_revoked(boxes, node)?;
    // The key on the command line has priority over the last known one.
    match board.key.or(boxes.board(of, number)) {
        Some(meant) if meant != node => return Err(RemoteError::OtherKey(number, node, meant)),
        Some(_) => {}
        None => match confirm(&format!("Board {number}"), node) {
            PromptAnswer::Yes => {}
            PromptAnswer::No => return Err(RemoteError::Declined(format!("board {number}"))),
            PromptAnswer::Nobody => return Err(RemoteError::UnknownBoard(number, node)),
        },
    }
    let seat = Seat { owner: key.public(), coordinator: of, number, node };
    let record = SeatRecord::sign(seat, key)
        .map_err(|error| RemoteError::NoGate(format!("board {number}"), error.to_string()))?;
    let args = json!({ "number": number.to_string(), "record": String::from(record) });
    client.call(verb, object(args))?;
    boxes.remember_board(of, number, node, None)?;
    Ok(node)
}

/// The board's node in the answer of `cluster show`, and the verb that stores a record for it.
fn find_node(shown: &Value) -> Option<(PublicKey, &'static str)> {
    let key = |value: &Value| value.as_str().and_then(|it| it.parse().ok());
    if let Some(node) = shown.get("node").and_then(key) {
        return Some((node, "record"));
    }
    let others = shown.get("others")?.as_array()?;
    let waits = others.iter().find(|other| other["is"] == "waiting")?;
    Some((key(&waits["key"])?, "approve"))
}

fn object(args: Value) -> Map<String, Value> {
    match args {
        Value::Object(args) => args,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::Peer;
    use proptest::prelude::*;
    use std::os::unix::net::UnixStream;
    use tempfile::TempDir;

    /// A verb and its arguments.
    type Asked = (String, Map<String, Value>);

    /// Vouches at a box whose `cluster show` returns `shown`. Returns the outcome, and the call
    /// that stored the record.
    fn at_box(
        shown: Value,
        board: BoardArgument,
        key: &PrivateKey,
        boxes: &mut Boxes,
    ) -> (Result<PublicKey, RemoteError>, Option<Asked>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut peer = Peer::new(theirs);
            let first = peer.next_request().unwrap().unwrap();
            assert_eq!((first.verb.as_str(), first.unit.unwrap().as_str()), ("show", CLUSTER));
            peer.end(first.id, Ok(shown)).unwrap();
            let next = peer.next_request().unwrap()?;
            peer.end(next.id, Ok(Value::Null)).unwrap();
            Some((next.verb, next.args))
        });
        let mut client = Client::new(ours);
        let outcome = vouch(&mut client, BOX, board, key, boxes);
        drop(client);
        (outcome, server.join().unwrap())
    }

    const BOX: PublicKey = PublicKey::new([9; 32]);

    #[test]
    fn an_owner_signs_what_was_compared() {
        let folder = TempDir::new().unwrap();
        let mut boxes = Boxes::open(&folder.path().join("boxes.toml")).unwrap();
        let key = PrivateKey::generate().unwrap();
        let [node, other] = [1, 3].map(|key| PublicKey::new([key; 32]));
        let is = |node: PublicKey| json!({ "node": node, "others": [] });
        let board = |key| BoardArgument { number: 3, key };

        // There is no user to confirm the key.
        let (outcome, asked) = at_box(is(node), board(None), &key, &mut boxes);
        assert!(matches!(outcome, Err(RemoteError::UnknownBoard(3, _))) && asked.is_none());
        // The key is given once, and known after that.
        for named in [Some(node), None] {
            let (outcome, asked) = at_box(is(node), board(named), &key, &mut boxes);
            let (verb, args) = asked.unwrap();
            assert_eq!(
                (outcome.unwrap(), verb.as_str(), &args["number"]),
                (node, "record", &json!("3"))
            );
            let record = SeatRecord::try_from(args["record"].as_str().unwrap().to_owned()).unwrap();
            let owner = key.public();
            assert_eq!(*record.body(), Seat { owner, coordinator: BOX, number: 3, node });
        }
        // Nothing is signed if the node differs from the given or the last known one.
        for (shown, named) in [(node, Some(other)), (other, None)] {
            let (outcome, asked) = at_box(is(shown), board(named), &key, &mut boxes);
            assert!(matches!(outcome, Err(RemoteError::OtherKey(..))) && asked.is_none());
        }
        // A board that waits for approval is approved with the record.
        let waits = json!({ "node": null, "others": [{ "is": "waiting", "key": other }] });
        let (outcome, asked) = at_box(waits, board(Some(other)), &key, &mut boxes);
        assert_eq!((outcome.unwrap(), asked.unwrap().0.as_str()), (other, "approve"));
        boxes.revoke(other).unwrap();
        let (outcome, asked) = at_box(is(other), board(Some(other)), &key, &mut boxes);
        assert!(matches!(outcome, Err(RemoteError::Revoked(_))) && asked.is_none());
    }

    #[test]
    fn who_is_there_or_waits() {
        let [one, two] = [1, 3].map(|key| PublicKey::new([key; 32]));
        let waiting = json!({"is": "waiting", "key": two});
        let refused = json!({"is": "refused", "key": one});
        let of = |node: Value, others: &[&Value]| json!({"node": node, "others": others});
        assert_eq!(find_node(&of(json!(one), &[&waiting])), Some((one, "record")));
        assert_eq!(find_node(&of(Value::Null, &[&refused, &waiting])), Some((two, "approve")));
        assert_eq!(find_node(&of(Value::Null, &[&refused])), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                find_node(&value);
            }
        }
    }
}
