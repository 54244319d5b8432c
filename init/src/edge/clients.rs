//! Those who talk to PID 1: clients of its socket, and the serial port under QEMU.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use octet_control::{INIT, PORT, Request, SOCKETS};
use rustix::net::sockopt::socket_peercred;

use super::client::{Client, Received, Stream};
use super::poll::{Poll, Source};
use crate::clock::now;
use crate::supervisor::Moment;

/// How many clients may be connected at once; a further one is turned away.
const MOST_CLIENTS: usize = 64;

/// How long PID 1 looks for the control port before it takes it that there is none.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// How often the control port is looked for while it may still appear.
const PORT_PAUSE: Moment = Moment::from_millis(50);

/// All clients.
#[derive(Default)]
pub struct Clients {
    listener: Option<UnixListener>,
    clients: HashMap<u32, Client>,
    last_token: u32,
    port: Port,
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
    /// decided by the peer's uid.
    pub fn listen(&mut self, poll: &Poll) -> io::Result<()> {
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
                    self.clients.insert(token, Client::new(Stream::Port(port), true));
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

    /// Takes everyone who waits at the socket.
    pub fn accept(&mut self, poll: &Poll) {
        let Some(listener) = &self.listener else {
            return;
        };
        let mut accepted = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            if self.clients.len() + accepted.len() < MOST_CLIENTS {
                accepted.push(stream);
            }
        }
        for stream in accepted {
            let operator = socket_peercred(&stream).is_ok_and(|peer| peer.uid.is_root());
            let token = self.next_token();
            if stream.set_nonblocking(true).is_ok()
                && poll.add_for_changes(&stream, Source::Client(token)).is_ok()
            {
                self.clients.insert(token, Client::new(Stream::Socket(stream), operator));
            }
        }
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
    pub fn receive(&mut self, token: u32) -> Option<Vec<Request>> {
        let mut requests = Vec::new();
        match self.clients.get_mut(&token)?.receive(&mut requests) {
            Received::All => {}
            Received::MayHaveMore => self.unfinished.push(token),
            Received::Gone => {
                self.clients.remove(&token);
                return None;
            }
        }
        Some(requests)
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
