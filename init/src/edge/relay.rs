//! Requests for other units, handed on: root and whoever holds the control port reach every unit through
//! PID 1, on one connection. Operators who come from elsewhere do not: the gate asks the units itself.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use octet_control::{
    Decoder, Failure, FailureCode, Message, Piece, Reply, ReplyBody, Request, SOCKETS, UnitName,
    encode,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::clients::{ClientId, Clients};
use super::poll::{Poll, Source};

/// How many units one box's clients may be connected to through PID 1 at once, in all.
const MOST: usize = 64;

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
        let Some(frame) = framed(&Message::Request(request)) else {
            return Err(unreachable(&unit, "the request does not fit a frame"));
        };
        let known = self.relays.iter_mut().find(|(_, relay)| relay.is_of(client, &unit));
        let token = match known.map(|(token, _)| *token) {
            Some(token) => token,
            None => self.connect(poll, client, &unit)?,
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

    fn connect(&mut self, poll: &Poll, client: ClientId, unit: &UnitName) -> Result<u32, Failure> {
        if self.relays.len() >= MOST {
            let message = format!("too many clients wait for units, `{unit}` among them");
            let help = "end another request, or try again later";
            return Err(Failure::new(FailureCode::Busy, message, help));
        }
        connect_to(unit)
            .and_then(|stream| self.adopt(poll, client, unit, stream.into()))
            .map_err(|error| unreachable(unit, &error.to_string()))
    }

    /// Uses `stream`, at whose other end `unit` is, for `client` from now on.
    fn adopt(
        &mut self,
        poll: &Poll,
        client: ClientId,
        unit: &UnitName,
        stream: UnixStream,
    ) -> io::Result<u32> {
        self.last_token = self.last_token.wrapping_add(1);
        let (token, unit) = (self.last_token, unit.clone());
        poll.add(&stream, Source::Relay(token))?;
        let (decoder, open, paused) = (Decoder::default(), vec![], false);
        self.relays.insert(token, Relay { client, unit, stream, decoder, open, paused });
        Ok(token)
    }

    /// Hands what a unit has answered to its client.
    pub fn serve(&mut self, token: u32, poll: &Poll, clients: &mut Clients) {
        let Some(relay) = self.relays.get_mut(&token) else { return };
        if let Err(problem) = relay.hand_on(clients) {
            self.end(token, problem, clients);
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
mod tests;
