//! Requests for other units, handed on: whoever may operate the box reaches every unit through
//! PID 1, on one connection.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use octet_control::{
    By, Decoder, Failure, FailureCode, Message, Piece, PublicKey, Reply, ReplyBody, Request,
    SOCKETS, UnitName, encode,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::clients::{ClientId, Clients};
use super::poll::{Poll, Source};

/// How many units one box's clients may be connected to through PID 1 at once, in all.
const MOST: usize = 64;

/// How many of them may be for one operator.
const OF_ONE: usize = 16;

/// How many of them may be for operators with keys; the rest is for root and the port.
const OF_ALL: usize = 48;

/// How many connections to one unit may be for one operator.
const OF_ONE_TO_UNIT: usize = 3;

/// How many connections to one unit may be for operators with keys: fewer than any unit has places for PID 1.
const OF_ALL_TO_UNIT: usize = 7;

/// How many requests of one client may wait for one unit.
const MOST_OPEN: usize = 64;

/// Why a unit is given up that leaves unread what it is sent.
const UNREAD: &str = "it does not read its requests";

/// How often PID 1 reads from one unit before others have their turn.
const READS_PER_TURN: usize = 8;

/// All connections to units.
#[derive(Default)]
pub struct Relays {
    relays: HashMap<u32, Relay>,
    last_token: u32,
}

/// The connection to one unit, for one client; it ends when all is answered.
struct Relay {
    client: ClientId,
    /// The operator who asks, if it has a key.
    key: Option<PublicKey>,
    unit: UnitName,
    stream: UnixStream,
    decoder: Decoder,
    /// Requests without the end of an answer.
    open: Vec<u64>,
    /// Not read from, because the client has not yet read what it was sent.
    paused: bool,
}

impl Relays {
    /// Hands `request` of `client` on to `unit`.
    ///
    /// # Errors
    /// The unit cannot be reached; nothing was asked.
    pub fn ask(
        &mut self,
        poll: &Poll,
        client: ClientId,
        unit: UnitName,
        mut request: Request,
        clients: &mut Clients,
    ) -> Result<(), Failure> {
        request.unit = None;
        let id = request.id;
        let key = match request.by {
            Some(By::Operator(key)) => Some(key),
            _ => None,
        };
        let Some(frame) = framed(&Message::Request(request)) else {
            return Err(unreachable(&unit, "the request does not fit a frame"));
        };
        let known = self.relays.iter_mut().find(|(_, relay)| relay.is_of(client, &unit));
        let token = match known.map(|(token, _)| *token) {
            Some(token) => token,
            None => self.connect(poll, client, key, &unit)?,
        };
        let Some(relay) = self.relays.get_mut(&token) else {
            return Err(unreachable(&unit, "the connection is gone"));
        };
        if relay.open.len() >= MOST_OPEN {
            return Err(unreachable(&unit, "too many requests wait for it"));
        }
        if !relay.takes(&frame) {
            self.end(token, UNREAD, clients);
            return Err(unreachable(&unit, UNREAD));
        }
        relay.open.push(id);
        Ok(())
    }

    /// Hands a piece of a file on to the unit that has asked for it. A piece of a request that has
    /// its answer, and so may have crossed it on the way, is dropped.
    ///
    /// Nothing is kept here: a unit asks for no more than its socket takes (`MAX_WANT`).
    pub fn hand_over(&mut self, client: ClientId, piece: Piece, clients: &mut Clients) {
        let asked = |relay: &Relay| relay.client == client && relay.open.contains(&piece.id);
        let Some((token, relay)) = self.relays.iter_mut().find(|(_, relay)| asked(relay)) else {
            return;
        };
        let frame = framed(&Message::Piece(piece));
        if !frame.is_some_and(|frame| relay.takes(&frame)) {
            let token = *token;
            self.end(token, UNREAD, clients);
        }
    }

    /// Gives a connection up, and tells the client so in place of every answer that is missing.
    fn end(&mut self, token: u32, problem: &str, clients: &mut Clients) {
        let Some(relay) = self.relays.remove(&token) else { return };
        for id in relay.open {
            let failure = unreachable(&relay.unit, problem);
            clients.reply(relay.client, id, ReplyBody::Error(failure));
        }
    }

    fn connect(
        &mut self,
        poll: &Poll,
        client: ClientId,
        key: Option<PublicKey>,
        unit: &UnitName,
    ) -> Result<u32, Failure> {
        self.see_room(key, unit)?;
        connect_to(unit)
            .and_then(|stream| self.adopt(poll, client, key, unit, stream.into()))
            .map_err(|error| unreachable(unit, &error.to_string()))
    }

    /// Sees that one more connection to `unit` may be open for the operator `key`, so that none keeps
    /// others from a unit.
    fn see_room(&self, key: Option<PublicKey>, unit: &UnitName) -> Result<(), Failure> {
        let with_key = || self.relays.values().filter(|relay| relay.key.is_some());
        let to_unit = || with_key().filter(|relay| relay.unit == *unit);
        let own = |relay: &&Relay| relay.key == key;
        let full = self.relays.len() >= MOST
            || key.is_some()
                && (with_key().count() >= OF_ALL
                    || with_key().filter(own).count() >= OF_ONE
                    || to_unit().count() >= OF_ALL_TO_UNIT
                    || to_unit().filter(own).count() >= OF_ONE_TO_UNIT);
        if full {
            let message = format!("too many operators wait for `{unit}`, or this one too often");
            let help = "end another request, or try again later";
            return Err(Failure::new(FailureCode::Busy, message, help));
        }
        Ok(())
    }

    /// Uses `stream`, at whose other end `unit` is, for `client` from now on.
    fn adopt(
        &mut self,
        poll: &Poll,
        client: ClientId,
        key: Option<PublicKey>,
        unit: &UnitName,
        stream: UnixStream,
    ) -> io::Result<u32> {
        self.last_token = self.last_token.wrapping_add(1);
        let (token, unit) = (self.last_token, unit.clone());
        poll.add(&stream, Source::Relay(token))?;
        let (decoder, open, paused) = (Decoder::default(), vec![], false);
        self.relays.insert(token, Relay { client, key, unit, stream, decoder, open, paused });
        Ok(token)
    }

    /// Hands what a unit has answered to its client.
    pub fn serve(&mut self, token: u32, poll: &Poll, clients: &mut Clients) {
        let Some(relay) = self.relays.get_mut(&token) else { return };
        match relay.hand_on(clients) {
            // No operator holds a place at a unit who asks it nothing. Root and the port have theirs for themselves.
            Ok(()) if relay.key.is_some() && relay.open.is_empty() => {
                drop(self.relays.remove(&token));
            }
            Ok(()) => {}
            Err(problem) => self.end(token, problem, clients),
        }
        if let Some(relay) = self.relays.get_mut(&token)
            && clients.is_behind(relay.client)
            && poll.remove(&relay.stream).is_ok()
        {
            relay.paused = true;
        }
    }

    /// Reads on for clients that have read what they were sent, and drops what nobody waits for.
    pub fn go_on(&mut self, poll: &Poll, clients: &Clients) {
        for (token, relay) in &mut self.relays {
            if relay.paused && !clients.is_behind(relay.client) {
                relay.paused = poll.add(&relay.stream, Source::Relay(*token)).is_err();
            }
        }
        self.relays.retain(|_, relay| clients.is_there(relay.client));
    }
}

impl Relay {
    /// Writes `frame` at once and whole: a unit that does not read what it is sent is not waited for.
    fn takes(&self, frame: &[u8]) -> bool {
        rustix::io::write(&self.stream, frame).is_ok_and(|sent| sent == frame.len())
    }

    fn is_of(&self, client: ClientId, unit: &UnitName) -> bool {
        self.client == client && self.unit == *unit
    }

    /// # Errors
    /// The connection is over, for the reason given.
    fn hand_on(&mut self, clients: &mut Clients) -> Result<(), &'static str> {
        let mut buffer = [0; 16 << 10];
        for _ in 0..READS_PER_TURN {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("it closed the connection"),
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err("the connection broke"),
            }
            loop {
                let payload = match self.decoder.next_payload() {
                    Ok(Some(payload)) => payload,
                    Ok(None) => break,
                    Err(_) => return Err("it does not speak the control protocol"),
                };
                let Ok(reply) = serde_json::from_slice::<Reply>(&payload) else {
                    return Err("it does not speak the control protocol");
                };
                // Only what was asked is answered.
                let Some(place) = self.open.iter().position(|id| *id == reply.id) else { continue };
                if reply.body.is_last() {
                    self.open.swap_remove(place);
                }
                clients.reply(self.client, reply.id, reply.body);
            }
            if clients.is_behind(self.client) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// `message` as a frame, if it fits one.
fn framed(message: &Message) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    encode(&serde_json::to_vec(message).ok()?, &mut frame).ok()?;
    Some(frame)
}

/// A connection to the socket of `unit`, made without waiting.
fn connect_to(unit: &UnitName) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(format!("{SOCKETS}/{unit}.sock"))?)?;
    Ok(socket)
}

fn unreachable(unit: &UnitName, why: &str) -> Failure {
    Failure::new(
        FailureCode::Failed,
        format!("unit `{unit}` does not answer: {why}"),
        "`status` shows how it is",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::callers::Caller;
    use octet_control::PieceBody;
    use octet_control::file::{Chunk, MAX_CHUNK, MAX_WANT};
    use serde_json::{Map, json};
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
            let key = Some(PublicKey::new([1; 32]));
            relays.adopt(&poll, client, key, &name(), ours).unwrap();
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

    /// A connection ends with the last answer that is waited for, and so gives its place back.
    #[test]
    fn it_ends_with_its_answer() {
        let mut between = Between::new();
        between.ask(5);
        between.ask(6);
        let answer = |between: &mut Between, id: u64| {
            let mut frame = Vec::new();
            let reply = Reply { id, body: ReplyBody::End(json!(id)) };
            encode(&serde_json::to_vec(&reply).unwrap(), &mut frame).unwrap();
            between.unit.write_all(&frame).unwrap();
            between.relays.serve(1, &between.poll, &mut between.clients);
            assert_eq!(between.at_operator(), [reply]);
        };
        answer(&mut between, 6);
        assert_eq!(between.relays.relays.len(), 1);
        answer(&mut between, 5);
        assert!(between.relays.relays.is_empty());
        assert_eq!(between.at_unit().len(), 2);
        assert_eq!(between.unit.read(&mut [0]).unwrap(), 0);
    }

    /// However much operators ask for and leave open, other operators and root reach the unit.
    #[test]
    fn no_operator_keeps_others_from_a_unit() {
        let (mut between, mut held) = (Between::new(), vec![]);
        between.relays.relays.clear();
        let mut open = |between: &mut Between, key: Option<u8>, unit: &str| -> usize {
            let (key, unit) = (key.map(|key| PublicKey::new([key; 32])), unit.parse().unwrap());
            let mut count = 0;
            while count < 100 && between.relays.see_room(key, &unit).is_ok() {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let (poll, client) = (&between.poll, between.client);
                between.relays.adopt(poll, client, key, &unit, ours).unwrap();
                held.push(theirs);
                count += 1;
            }
            count
        };
        assert_eq!(open(&mut between, Some(1), "update"), OF_ONE_TO_UNIT);
        assert_eq!(open(&mut between, Some(2), "update"), OF_ONE_TO_UNIT);
        assert_eq!(open(&mut between, Some(3), "update"), OF_ALL_TO_UNIT - 2 * OF_ONE_TO_UNIT);
        assert!(between.relays.see_room(None, &name()).is_ok());
        let others = (0..50).map(|unit| open(&mut between, Some(1), &format!("unit-{unit}")));
        assert_eq!(others.sum::<usize>(), OF_ONE - OF_ONE_TO_UNIT);
        assert_ne!(open(&mut between, Some(2), "logd"), 0);
        for key in 4..20 {
            for unit in 0..50 {
                open(&mut between, Some(key), &format!("unit-{unit}"));
            }
        }
        assert_eq!(open(&mut between, None, "update"), MOST - OF_ALL);
    }
}
