//! Those who talk to PID 1: clients of its socket, and the serial port under QEMU.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::iter;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use octet_control::{INIT, Message, PORT, ReplyBody, SOCKETS};
use rustix::net::sockopt::socket_peercred;

use super::callers::{self, Caller};
use super::client::{Client, Received, Stream};
use super::poll::{Poll, Source};
use crate::clock::now;
use crate::supervisor::Moment;

/// How many clients may be connected at once; a further one is turned away.
const MOST_CLIENTS: usize = 64;

/// How many of them are kept for operators: a service that holds all the others must not keep them
/// out.
const FOR_OPERATORS: usize = 32;

/// How many are let in, or turned away, in one turn: whoever connects without end must not keep PID 1 from all else.
/// The kernel says again that others wait.
const AT_ONCE: usize = 16;

/// How long PID 1 looks for the control port before it takes it that there is none.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// How often the control port is looked for while it may still appear.
const PORT_PAUSE: Moment = Moment::from_millis(50);

/// One client, and on a port, which outlives its users, which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId {
    token: u32,
    user: u32,
}

/// All clients.
#[derive(Default)]
pub struct Clients {
    listener: Option<UnixListener>,
    clients: HashMap<u32, Client>,
    last_token: u32,
    port: Port,
    /// Users whose units bring operators.
    operators: Vec<u32>,
    /// Clients that may have sent more than was read in their turn.
    unfinished: Vec<u32>,
}

/// The search for the serial port.
enum Port {
    LookingUntil { give_up: Moment, next: Moment },
    Settled,
}

impl Default for Port {
    fn default() -> Self {
        Self::LookingUntil { give_up: now() + PORT_PATIENCE, next: now() }
    }
}

impl Clients {
    /// Opens the control socket. Anyone on the box may connect and look; who may do more is
    /// decided by the peer's uid: processes of the users `operators` are taken for operators.
    pub fn listen(&mut self, poll: &Poll, operators: Vec<u32>) -> io::Result<()> {
        self.operators = operators;
        let path = format!("{SOCKETS}/{INIT}.sock");
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        poll.add(&listener, Source::Listener)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// When the port is to be looked for again.
    pub fn next_try(&self) -> Option<Moment> {
        match self.port {
            Port::LookingUntil { next, .. } => Some(next),
            Port::Settled => None,
        }
    }

    /// Opens the control port if it is there. The kernel announces ports some time after their
    /// device, so it is looked for more than once.
    pub fn open_port(&mut self, poll: &Poll) {
        let Port::LookingUntil { give_up, .. } = self.port else {
            return;
        };
        if let Some(path) = find_port() {
            const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(O_NONBLOCK);
            if let Ok(port) = options.open(path) {
                let token = self.next_token();
                if poll.add_for_changes(&port, Source::Client(token)).is_ok() {
                    self.clients.insert(token, Client::new(Stream::Port(port), Caller::Port));
                }
                self.port = Port::Settled;
                return;
            }
        }
        self.port = if now() < give_up {
            Port::LookingUntil { give_up, next: now() + PORT_PAUSE }
        } else {
            Port::Settled
        };
    }

    /// Takes those who wait at the socket, some of them at a time.
    pub fn accept(&mut self, poll: &Poll) {
        let Some(listener) = &self.listener else {
            return;
        };
        let mut accepted = Vec::new();
        let mut count = self.clients.len();
        for (stream, _) in iter::from_fn(|| listener.accept().ok()).take(AT_ONCE) {
            let Ok(peer) = socket_peercred(&stream) else { continue };
            let caller = callers::known(peer.uid.as_raw(), &self.operators);
            if has_room(count, caller) {
                count += 1;
                accepted.push((stream, caller));
            }
        }
        for (stream, caller) in accepted {
            self.adopt(poll, stream, caller);
        }
    }

    /// Serves `stream` from now on, at whose other end `caller` is; if it can be waited for.
    pub fn adopt(&mut self, poll: &Poll, stream: UnixStream, caller: Caller) -> Option<ClientId> {
        let token = self.next_token();
        stream.set_nonblocking(true).ok()?;
        poll.add_for_changes(&stream, Source::Client(token)).ok()?;
        self.clients.insert(token, Client::new(Stream::Socket(stream), caller));
        self.id(token)
    }

    fn next_token(&mut self) -> u32 {
        self.last_token = self.last_token.wrapping_add(1);
        self.last_token
    }

    /// The client, if it is still there.
    pub fn get(&mut self, token: u32) -> Option<&mut Client> {
        self.clients.get_mut(&token)
    }

    /// Reads what the client has sent; `None` if it is gone.
    pub fn receive(&mut self, token: u32) -> Option<Vec<Message>> {
        let mut messages = Vec::new();
        match self.clients.get_mut(&token)?.receive(&mut messages) {
            Received::All => {}
            Received::MayHaveMore => self.unfinished.push(token),
            Received::Gone => {
                self.clients.remove(&token);
                return None;
            }
        }
        Some(messages)
    }

    /// The clients that are to have another turn although nothing new has come.
    pub fn take_unfinished(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.unfinished)
    }

    /// Sends what can be sent to the client, and drops it if it is done or gone.
    pub fn send(&mut self, token: u32) {
        if self.clients.get_mut(&token).is_some_and(|client| !client.send()) {
            self.clients.remove(&token);
        }
    }

    /// The name of a client by which it is known to be still the same.
    pub fn id(&self, token: u32) -> Option<ClientId> {
        self.clients.get(&token).map(|client| ClientId { token, user: client.user() })
    }

    fn same(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(&id.token).filter(|client| client.user() == id.user)
    }

    /// Whether it is still the same.
    pub fn is_there(&self, id: ClientId) -> bool {
        self.same(id).is_some()
    }

    /// Whether it has yet to read much of what it was sent.
    pub fn is_behind(&self, id: ClientId) -> bool {
        self.same(id).is_some_and(Client::is_behind)
    }

    /// Sends what a unit has answered, if the client is still the same.
    pub fn reply(&mut self, id: ClientId, request: u64, body: ReplyBody) {
        if self.is_there(id)
            && let Some(client) = self.clients.get_mut(&id.token)
        {
            if body.is_last() {
                client.unit_has_answered();
            }
            client.reply(request, body);
            self.send(id.token);
        }
    }

    /// Something has changed that watchers are to see.
    pub fn changed(&mut self) {
        self.clients.values_mut().for_each(Client::owe_change);
    }

    /// The watchers that are to be sent the state now. One that has not yet read the last gets
    /// none: when it has, it gets the newest.
    pub fn due_watchers(&self) -> Vec<u32> {
        self.clients.iter().filter(|(_, client)| client.is_due()).map(|(token, _)| *token).collect()
    }

    /// Tries once more to send everyone what waits for them.
    pub fn flush(&mut self) {
        for client in self.clients.values_mut() {
            client.send();
        }
    }
}

/// Whether there is room for `caller` beside `count` others.
fn has_room(count: usize, caller: Caller) -> bool {
    let kept = if caller.is_operator() { 0 } else { FOR_OPERATORS };
    count + kept < MOST_CLIENTS
}

/// The device of the port that has our name.
fn find_port() -> Option<PathBuf> {
    std::fs::read_dir("/sys/class/virtio-ports")
        .ok()?
        .flatten()
        .find(|entry| {
            std::fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT)
        })
        .map(|entry| PathBuf::from("/dev").join(entry.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_keep_no_operator_out() {
        let most = |caller| (0..).find(|&count| !has_room(count, caller)).unwrap();
        let (services, all) = (most(Caller::User(901)), most(Caller::Root));
        assert_eq!((services, all - services), (MOST_CLIENTS - FOR_OPERATORS, FOR_OPERATORS));
    }

    /// Whoever waits beyond that waits on.
    #[test]
    fn no_turn_is_longer_than_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("init.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut clients =
            Clients { listener: Some(listener.try_clone().unwrap()), ..Clients::default() };
        let _waiting: Vec<_> =
            (0..AT_ONCE * 2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        clients.accept(&Poll::new().unwrap());
        assert_eq!(iter::from_fn(|| listener.accept().ok()).count(), AT_ONCE);
    }
}
