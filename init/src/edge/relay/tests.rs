use super::*;
use crate::edge::callers::Caller;
use octet_control::PieceBody;
use octet_control::file::{Chunk, MAX_CHUNK, MAX_WANT};
use serde_json::Map;
use std::io::Write;

/// PID 1 between an operator and the unit `update`, each at a socket of its own.
struct Between {
    poll: Poll,
    clients: Clients,
    relays: Relays,
    client: ClientId,
    operator: UnixStream,
    unit: UnixStream,
}

impl Between {
    fn new() -> Self {
        let (poll, mut clients, mut relays) =
            (Poll::new().unwrap(), Clients::default(), Relays::default());
        let (operator, theirs) = UnixStream::pair().unwrap();
        let client = clients.adopt(&poll, theirs, Caller::Root).unwrap();
        let (ours, unit) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        relays.adopt(&poll, client, &name(), ours).unwrap();
        operator.set_nonblocking(true).unwrap();
        unit.set_nonblocking(true).unwrap();
        Self { poll, clients, relays, client, operator, unit }
    }

    fn ask(&mut self, id: u64) {
        let (verb, args) = ("install".into(), Map::new());
        let request = Request { id, unit: None, verb, args, by: None };
        let (client, clients) = (self.client, &mut self.clients);
        self.relays.ask(&self.poll, client, name(), request, clients).unwrap();
        if let Some(client) = clients.get(1) {
            client.wait_for_unit();
        }
    }

    fn hand_over(&mut self, id: u64, bytes: usize) {
        let chunk = Chunk::try_from(vec![7; bytes]).unwrap();
        let piece = Piece { id, body: PieceBody::Chunk(chunk) };
        self.relays.hand_over(self.client, piece, &mut self.clients);
    }

    /// The messages that have reached the unit.
    fn at_unit(&mut self) -> Vec<Message> {
        let all = read(&mut self.unit);
        all.iter().map(|json| serde_json::from_slice(json).unwrap()).collect()
    }

    /// The replies that have reached the operator.
    fn at_operator(&mut self) -> Vec<Reply> {
        self.clients.flush();
        let all = read(&mut self.operator);
        all.iter().map(|json| serde_json::from_slice(json).unwrap()).collect()
    }
}

fn name() -> UnitName {
    UnitName::try_from("update".to_owned()).unwrap()
}

/// The payloads of all frames that have come.
fn read(stream: &mut UnixStream) -> Vec<Vec<u8>> {
    let (mut decoder, mut buffer) = (Decoder::default(), vec![0; 1 << 20]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        decoder.push(&buffer[..count]);
    }
    std::iter::from_fn(|| decoder.next_payload().unwrap()).collect()
}

/// All that a unit may want at once finds room, though it reads nothing of it yet.
#[test]
fn what_was_wanted_is_handed_on() {
    let mut between = Between::new();
    between.ask(5);
    between.hand_over(5, 0);
    between.hand_over(6, 1); // nobody has asked that
    let at_unit = between.at_unit();
    assert!(
        matches!(&at_unit[..], [Message::Request(_), Message::Piece(piece)]
        if piece.id == 5),
        "{at_unit:?}"
    );
    let want = octet_control::file::Want { at: 0, length: MAX_WANT };
    let mut frame = Vec::new();
    let reply = Reply { id: 5, body: ReplyBody::Want(want) };
    encode(&serde_json::to_vec(&reply).unwrap(), &mut frame).unwrap();
    between.unit.write_all(&frame).unwrap();
    between.relays.serve(1, &between.poll, &mut between.clients);
    assert_eq!(between.at_operator(), [reply]);
    let chunks = MAX_WANT as usize / MAX_CHUNK;
    for _ in 0..chunks {
        between.hand_over(5, MAX_CHUNK);
    }
    assert_eq!(between.at_unit().len(), chunks);
    assert_eq!(between.at_operator(), []);
}

/// Who sends more than was asked for fills the unit's socket, and no memory of PID 1.
#[test]
fn what_was_not_wanted_is_given_up() {
    let mut between = Between::new();
    between.ask(5);
    between.ask(6);
    for _ in 0..1000 {
        between.hand_over(5, MAX_CHUNK);
    }
    let replies = between.at_operator();
    let mut ids: Vec<u64> = replies.iter().map(|reply| reply.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [5, 6], "{replies:?}");
    assert!(
        replies.iter().all(|reply| matches!(&reply.body, ReplyBody::Error(failure)
        if failure.message.contains(UNREAD))),
        "{replies:?}"
    );
    assert!(between.relays.relays.is_empty());
}
