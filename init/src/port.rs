//! The serial port under QEMU (virtio-serial), whose user operates the box: one of PID 1's own
//! units relays requests from the port to the named units and to PID 1.
//!
//! Each request has a thread, which waits for the unit on a connection of its own. The port
//! outlives its users: when a user disconnects, the port reports an end, and the user's requests
//! are answered no more.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use octet_control::file::Relayed;
use octet_control::{
    By, Client, ClientMessage, Connection, Decoder, Failure, FailureCode, FilePiece, INIT, PORT,
    Reply, ReplyBody, Request, SOCKETS, STATUS, UnitName, connect_failure, encode, no_answer,
};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Map;

use crate::clock::now;

/// How long the port is looked for: the kernel announces ports some time after their device. A unit
/// may take as long to accept a connection.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The interval of looking for it.
pub const RETRY_DELAY: Duration = Duration::from_millis(50);

/// How often, and at which interval, the unit checks before its end whether all requests are
/// answered: a quarter of a second in all.
const DRAIN_ATTEMPTS: u32 = 25;
const DRAIN_DELAY: Duration = Duration::from_millis(10);

/// Maximum number of pending requests; with one more, the oldest is dropped.
const MAX_PENDING: usize = 32;

/// Event number of the reading thread, besides the port (0) and the end (1): a unit can accept more
/// data.
const WRITABLE: u64 = 2;

/// Stack size of a request's thread, in bytes.
const STACK_SIZE: usize = 128 << 10;

/// The verb of PID 1 of which only the last request counts: a new request replaces the one before.
const WATCH_VERB: &str = "watch";

/// Serves the port, if there is one.
pub fn run() -> Result<(), String> {
    let deadline = now() + TIMEOUT;
    let file = loop {
        match open() {
            Some(file) => break file,
            None if now() > deadline => {
                eprintln!("there is no control port on this machine");
                return Ok(());
            }
            None => thread::sleep(RETRY_DELAY),
        }
    };
    serve(file, Path::new(SOCKETS)).map_err(|error| format!("the control port: {error}"))
}

/// Opens the port with our name, if it exists and nobody has it open.
pub fn open() -> Option<File> {
    const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(O_NONBLOCK).open(find()?).ok()
}

fn find() -> Option<PathBuf> {
    let ports = std::fs::read_dir("/sys/class/virtio-ports").ok()?;
    let named = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT)
    };
    ports.flatten().find(named).map(|entry| Path::new("/dev").join(entry.file_name()))
}

struct Port {
    sockets: PathBuf,
    /// The epoll descriptor of the reading thread: it watches the port, and units that can accept
    /// more of a file.
    epoll: OwnedFd,
    /// Bytes of files that wait here for units.
    buffered: Arc<AtomicUsize>,
    shared: Mutex<Shared>,
}

struct Shared {
    file: File,
    /// Number of previous users of the port.
    user: u64,
    /// Number of requests so far.
    request_count: u64,
    /// Pending requests, in order.
    pending: BTreeMap<u64, PendingRequest>,
}

struct PendingRequest {
    id: u64,
    /// The connection to the unit, once it exists.
    stream: Option<UnixStream>,
    /// What the unit has requested of the file, and does not read yet.
    relayed: Relayed,
    watches: bool,
}

/// A request of a user.
#[derive(Clone, Copy)]
struct RequestKey {
    user: u64,
    number: u64,
    id: u64,
}

fn serve(file: File, sockets: &Path) -> io::Result<()> {
    let wait = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (asked_to_stop, signal) = UnixStream::pair()?;
    asked_to_stop.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, signal)?;
    // Edge-triggered: while nobody is at the other end, the port is reported as readable all the
    // time.
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&wait, &file, epoll::EventData::new_u64(0), flags)?;
    epoll::add(&wait, &asked_to_stop, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
    let mut reader = file.try_clone()?;
    let shared = Shared { file, user: 0, request_count: 0, pending: BTreeMap::new() };
    let (sockets, buffered, shared) = (sockets.to_owned(), Arc::default(), Mutex::new(shared));
    let port = Arc::new(Port { sockets, epoll: wait, buffered, shared });
    let (mut connection, mut buffer) = (Connection::default(), [0; 16 << 10]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => {
                port.reset();
                connection = Connection::default();
            }
            Ok(count) => {
                for message in connection.received(&buffer[..count], false) {
                    match message {
                        ClientMessage::Request(request) => port.start_request(request),
                        ClientMessage::Piece(piece) => port.forward_piece(piece),
                    }
                }
                let user = port.shared().user;
                // The user may have disconnected.
                let _ = port.send_to_user(user, connection.pending());
                connection.sent(connection.pending_count());
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let _ = epoll::wait(&port.epoll, &mut [MaybeUninit::uninit(); 1], None);
        port.shared().pending.values_mut().for_each(PendingRequest::send_buffered);
        if (&asked_to_stop).read(&mut [0]).is_ok() {
            port.stop();
            return Ok(());
        }
    }
}

impl Port {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user has disconnected; the next one must not receive answers to his requests.
    fn reset(&self) {
        let mut shared = self.shared();
        shared.user += 1;
        while let Some((_, pending)) = shared.pending.pop_first() {
            pending.shut_down();
        }
    }

    /// Reports to the user that nothing is answered any more. A watching client sees the shutdown
    /// and the next boot by itself.
    fn stop(&self) {
        // PID 1 answers a request to shut down, and then ends this unit: that answer may not have
        // been relayed yet.
        let answered = || self.shared().pending.values().all(|pending| pending.watches);
        for _ in 0..DRAIN_ATTEMPTS {
            if answered() {
                break;
            }
            thread::sleep(DRAIN_DELAY);
        }
        let (user, open) = {
            let mut shared = self.shared();
            (shared.user, std::mem::take(&mut shared.pending))
        };
        for PendingRequest { id, .. } in open.into_values().filter(|it| !it.watches) {
            let help = "ask again: PID 1 is at the port now, or the unit is again";
            let failure = Failure::new(FailureCode::Failed, "the control port is stopped", help);
            let reply = Reply { id, body: ReplyBody::Error(failure) };
            // The user may have disconnected.
            let _ = self.send_to_user(user, &to_frame(serde_json::to_vec(&reply)));
        }
    }

    /// Starts a thread for a request.
    fn start_request(self: &Arc<Self>, request: Request) {
        let mut shared = self.shared();
        let is_init = request.unit.as_ref().is_none_or(|unit| unit.as_str() == INIT);
        let watches = is_init && request.verb == WATCH_VERB;
        let is_replaced = |it: &PendingRequest| it.id == request.id || watches && it.watches;
        shared.pending.retain(|_, it| !is_replaced(it) || it.shut_down());
        if shared.pending.len() >= MAX_PENDING
            && let Some((_, oldest)) = shared.pending.pop_first()
        {
            oldest.shut_down();
        }
        shared.request_count += 1;
        let key = RequestKey { user: shared.user, number: shared.request_count, id: request.id };
        let relayed = Relayed::new(&self.buffered);
        let pending = PendingRequest { id: request.id, stream: None, relayed, watches };
        shared.pending.insert(key.number, pending);
        drop(shared);
        let port = Arc::clone(self);
        let work = move || {
            if let Err(failure) = port.relay_request(key, request) {
                port.finish_request(key, &Reply { id: key.id, body: ReplyBody::Error(failure) });
            }
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK_SIZE).spawn(work) {
            eprintln!("a request finds no thread: {error}");
            self.shared().pending.remove(&key.number);
        }
    }

    /// Sends the request to the unit, and relays its answer to the end.
    fn relay_request(&self, key: RequestKey, mut request: Request) -> Result<(), Failure> {
        let unit = request.take_unit();
        let unit = unit.as_ref().map_or(INIT, UnitName::as_str);
        request.by = Some(By::Port);
        let broken = |error: io::Error| no_answer(unit, &error.to_string());
        let mut stream = match connect(&self.sockets.join(format!("{unit}.sock"))) {
            Ok(stream) => stream,
            Err(error) if unit == INIT => return Err(broken(error)),
            Err(error) => return Err(connect_failure(unit, &self.status(), &error.to_string())),
        };
        {
            let mut shared = self.shared();
            // The request may have been dropped meanwhile.
            let Some(pending) = shared.pending.get_mut(&key.number) else { return Ok(()) };
            let to_unit = pending.stream.insert(stream.try_clone().map_err(broken)?);
            // Edge-triggered: reported once each time there is room again, and ignored as long as
            // no data waits.
            let flags = epoll::EventFlags::OUT | epoll::EventFlags::ET;
            let data = epoll::EventData::new_u64(WRITABLE);
            epoll::add(&self.epoll, to_unit, data, flags).map_err(|error| broken(error.into()))?;
        }
        write(&stream, &ClientMessage::Request(request)).map_err(broken)?;
        let (mut decoder, mut buffer) = (Decoder::default(), [0; 16 << 10]);
        loop {
            while let Some(payload) =
                decoder.next_payload().map_err(|error| no_answer(unit, &error.to_string()))?
            {
                let reply: Reply = serde_json::from_slice(&payload)
                    .map_err(|_| no_answer(unit, "it does not speak the control protocol"))?;
                // Replies to other requests are ignored.
                if reply.id != key.id {
                    continue;
                }
                if let ReplyBody::Want(want) = reply.body {
                    // The request may have been dropped meanwhile.
                    let mut shared = self.shared();
                    let Some(pending) = shared.pending.get_mut(&key.number) else { return Ok(()) };
                    pending.relayed.want(want)?;
                }
                if reply.body.is_last() {
                    self.finish_request(key, &reply);
                    return Ok(());
                }
                if self.send_to_user(key.user, &to_frame(serde_json::to_vec(&reply))).is_err() {
                    return Ok(());
                }
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Err(no_answer(unit, "it closed the connection")),
                Ok(count) => decoder.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// PID 1's status of all units.
    fn status(&self) -> serde_json::Value {
        let client = Client::connect(&self.sockets.join(format!("{INIT}.sock")));
        let status = client.and_then(|mut client| client.call(STATUS, Map::new()));
        status.unwrap_or_default()
    }

    /// Forwards a piece of a file to the unit that has requested it. A piece for a request that is
    /// already answered is dropped: the two may have crossed. What the unit does not read yet is
    /// queued here, without blocking.
    fn forward_piece(&self, piece: FilePiece) {
        let mut shared = self.shared();
        let (id, user) = (piece.id, shared.user);
        let pending = shared.pending.iter_mut().find(|(_, pending)| pending.id == id);
        let Some((&number, pending)) = pending else { return };
        match pending.relayed.take(piece) {
            Ok(()) => pending.send_buffered(),
            Err(failure) => {
                // The request is removed before its connection ends, or the unit's thread would
                // answer first that the unit has closed it.
                if let Some(pending) = shared.pending.remove(&number) {
                    pending.shut_down();
                }
                drop(shared);
                let reply = Reply { id, body: ReplyBody::Error(failure) };
                // The user may have disconnected.
                let _ = self.send_to_user(user, &to_frame(serde_json::to_vec(&reply)));
            }
        }
    }

    /// Sends the last reply to a request, if it is still pending.
    fn finish_request(&self, key: RequestKey, reply: &Reply) {
        if self.shared().pending.remove(&key.number).is_some() {
            // The user may have disconnected.
            let _ = self.send_to_user(key.user, &to_frame(serde_json::to_vec(reply)));
        }
    }

    /// Sends all of `bytes` to `user`.
    fn send_to_user(&self, user: u64, mut bytes: &[u8]) -> io::Result<()> {
        let mut shared = self.shared();
        while !bytes.is_empty() {
            if shared.user != user {
                return Err(ErrorKind::BrokenPipe.into());
            }
            match shared.file.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut file = [PollFd::new(&shared.file, PollFlags::OUT)];
                    poll(&mut file, None)?;
                    if file[0].revents().contains(PollFlags::HUP) {
                        return Err(ErrorKind::BrokenPipe.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl PendingRequest {
    /// Sends the unit as much of the file as it accepts now.
    fn send_buffered(&mut self) {
        let Some(stream) = &self.stream else { return };
        while let Some(pending) = self.relayed.pending() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(stream, pending, flags) {
                Ok(count) => self.relayed.sent(count),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return,
                // The unit's thread reads the end of the answer.
                Err(_) => {
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }

    /// Nobody waits for the answer any more. Returns false: the request is not kept.
    fn shut_down(&self) -> bool {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        false
    }
}

/// Connects to the socket at `path`. If its queue is full, it waits for a while.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// Writes all of `message`.
fn write(stream: &UnixStream, message: &ClientMessage) -> io::Result<()> {
    let frame = to_frame(serde_json::to_vec(message));
    let sent = rustix::net::send(stream, &frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    let unread = || io::Error::other("it does not read its requests");
    if sent == frame.len() { Ok(()) } else { Err(unread()) }
}

/// Encodes a message or a reply as a frame; empty if it does not fit.
fn to_frame(json: serde_json::Result<Vec<u8>>) -> Vec<u8> {
    let mut frame = Vec::new();
    let _ = encode(&json.unwrap_or_default(), &mut frame);
    frame
}

#[cfg(test)]
mod tests;
