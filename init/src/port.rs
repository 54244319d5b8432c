//! The serial port under QEMU (virtio-serial), whose holder operates the box: a unit of PID 1's own asks every unit that
//! is meant, PID 1 among them, for whom is at the other end.
//!
//! A thread for each request waits for its unit, by a connection of its own. The port outlives its users: that one has
//! gone is read as an end, and what was asked for him is answered no more.

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
    Reply, ReplyBody, Request, SOCKETS, STATUS, UnitName, encode, silent, why_not,
};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Map;

use crate::clock::now;

/// How long the port is looked for: the kernel announces ports some time after their device. As long a unit may take to
/// take a connection.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked for in that time.
pub const RETRY_DELAY: Duration = Duration::from_millis(50);

/// How often, and with what pause, it is looked at the end whether all requests are answered: a quarter of a second in
/// all.
const LAST: u32 = 25;
const LAST_DELAY: Duration = Duration::from_millis(10);

/// Requests that wait for an answer; one more, and the oldest gets none any more.
const MAX_OPEN: usize = 32;

/// What the thread that reads the port is woken for, besides the port (0) and the end (1): a unit has room again.
const ROOM: u64 = 2;

/// Room for the stack of a request's thread, in bytes.
const STACK: usize = 128 << 10;

/// The verb of PID 1 of which only the last request counts: whoever asks again has given up the one before.
const WATCH: &str = "watch";

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

/// The port that has our name, if it is there and nobody has it.
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
    /// By which the thread that reads the port waits: for it, and for units that can take more of a file.
    wait: OwnedFd,
    /// Bytes of files that wait here for units.
    held: Arc<AtomicUsize>,
    shared: Mutex<Shared>,
}

struct Shared {
    file: File,
    /// How many users the port has had before this one.
    user: u64,
    /// How many requests there were.
    asked: u64,
    /// Those that wait for an answer, in their order.
    open: BTreeMap<u64, Asked>,
}

struct Asked {
    id: u64,
    /// The unit, where it was connected to.
    stream: Option<UnixStream>,
    /// What the unit has asked for of the file, and does not read yet.
    relayed: Relayed,
    watches: bool,
}

/// A request of a user.
#[derive(Clone, Copy)]
struct Ticket {
    user: u64,
    number: u64,
    id: u64,
}

fn serve(file: File, sockets: &Path) -> io::Result<()> {
    let wait = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (asked_to_stop, signal) = UnixStream::pair()?;
    asked_to_stop.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, signal)?;
    // Whether somebody is at the other end is told once: the port says for ever that it can be read when nobody is.
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&wait, &file, epoll::EventData::new_u64(0), flags)?;
    epoll::add(&wait, &asked_to_stop, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
    let mut reader = file.try_clone()?;
    let shared = Shared { file, user: 0, asked: 0, open: BTreeMap::new() };
    let (sockets, held, shared) = (sockets.to_owned(), Arc::default(), Mutex::new(shared));
    let port = Arc::new(Port { sockets, wait, held, shared });
    let (mut connection, mut buffer) = (Connection::default(), [0; 16 << 10]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => {
                port.start_afresh();
                connection = Connection::default();
            }
            Ok(count) => {
                for message in connection.received(&buffer[..count], false) {
                    match message {
                        ClientMessage::Request(request) => port.take(request),
                        ClientMessage::Piece(piece) => port.hand_over(piece),
                    }
                }
                let user = port.shared().user;
                // Whoever is gone is told nothing.
                let _ = port.say(user, connection.pending());
                connection.sent(connection.pending_count());
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let _ = epoll::wait(&port.wait, &mut [MaybeUninit::uninit(); 1], None);
        port.shared().open.values_mut().for_each(Asked::forward);
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

    /// The user has gone, and the next one knows nothing of what he asked.
    fn start_afresh(&self) {
        let mut shared = self.shared();
        shared.user += 1;
        while let Some((_, asked)) = shared.open.pop_first() {
            asked.end();
        }
    }

    /// Tells the user that nothing is answered any more. Who watches sees by itself how the box goes down, and then up.
    fn stop(&self) {
        // PID 1 answers who has asked it to go down, and then ends this: that answer may not have been handed on yet.
        let answered = || self.shared().open.values().all(|asked| asked.watches);
        for _ in 0..LAST {
            if answered() {
                break;
            }
            thread::sleep(LAST_DELAY);
        }
        let (user, open) = {
            let mut shared = self.shared();
            (shared.user, std::mem::take(&mut shared.open))
        };
        for Asked { id, .. } in open.into_values().filter(|asked| !asked.watches) {
            let help = "ask again: PID 1 is at the port now, or the unit is again";
            let failure = Failure::new(FailureCode::Failed, "the control port is stopped", help);
            let reply = Reply { id, body: ReplyBody::Error(failure) };
            // Whoever is gone is told nothing.
            let _ = self.say(user, &framed(serde_json::to_vec(&reply)));
        }
    }

    /// Has a thread see to a request.
    fn take(self: &Arc<Self>, request: Request) {
        let mut shared = self.shared();
        let is_init = request.unit.as_ref().is_none_or(|unit| unit.as_str() == INIT);
        let watches = is_init && request.verb == WATCH;
        let given_up = |it: &Asked| it.id == request.id || watches && it.watches;
        shared.open.retain(|_, it| !given_up(it) || it.end());
        if shared.open.len() >= MAX_OPEN
            && let Some((_, oldest)) = shared.open.pop_first()
        {
            oldest.end();
        }
        shared.asked += 1;
        let ticket = Ticket { user: shared.user, number: shared.asked, id: request.id };
        let relayed = Relayed::new(&self.held);
        let asked = Asked { id: request.id, stream: None, relayed, watches };
        shared.open.insert(ticket.number, asked);
        drop(shared);
        let port = Arc::clone(self);
        let work = move || {
            if let Err(failure) = port.ask(ticket, request) {
                port.end(ticket, &Reply { id: ticket.id, body: ReplyBody::Error(failure) });
            }
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(work) {
            eprintln!("a request finds no thread: {error}");
            self.shared().open.remove(&ticket.number);
        }
    }

    /// Asks the unit, and hands back what it answers, to the end of it.
    fn ask(&self, ticket: Ticket, mut request: Request) -> Result<(), Failure> {
        let unit = request.take_unit();
        let unit = unit.as_ref().map_or(INIT, UnitName::as_str);
        request.by = Some(By::Port);
        let broken = |error: io::Error| silent(unit, &error.to_string());
        let mut stream = match connect(&self.sockets.join(format!("{unit}.sock"))) {
            Ok(stream) => stream,
            Err(error) if unit == INIT => return Err(broken(error)),
            Err(error) => return Err(why_not(unit, &self.status(), &error.to_string())),
        };
        {
            let mut shared = self.shared();
            // It may have been given up meanwhile.
            let Some(asked) = shared.open.get_mut(&ticket.number) else { return Ok(()) };
            let to_unit = asked.stream.insert(stream.try_clone().map_err(broken)?);
            // Told once, each time that there is room again: nothing is to be done as long as nothing waits.
            let flags = epoll::EventFlags::OUT | epoll::EventFlags::ET;
            let data = epoll::EventData::new_u64(ROOM);
            epoll::add(&self.wait, to_unit, data, flags).map_err(|error| broken(error.into()))?;
        }
        write(&stream, &ClientMessage::Request(request)).map_err(broken)?;
        let (mut decoder, mut buffer) = (Decoder::default(), [0; 16 << 10]);
        loop {
            while let Some(payload) =
                decoder.next_payload().map_err(|error| silent(unit, &error.to_string()))?
            {
                let reply: Reply = serde_json::from_slice(&payload)
                    .map_err(|_| silent(unit, "it does not speak the control protocol"))?;
                // Only what was asked is answered.
                if reply.id != ticket.id {
                    continue;
                }
                if let ReplyBody::Want(want) = reply.body {
                    // It may have been given up meanwhile.
                    let mut shared = self.shared();
                    let Some(asked) = shared.open.get_mut(&ticket.number) else { return Ok(()) };
                    asked.relayed.want(want)?;
                }
                if reply.body.is_last() {
                    self.end(ticket, &reply);
                    return Ok(());
                }
                if self.say(ticket.user, &framed(serde_json::to_vec(&reply))).is_err() {
                    return Ok(());
                }
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Err(silent(unit, "it closed the connection")),
                Ok(count) => decoder.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// What PID 1 says of all units.
    fn status(&self) -> serde_json::Value {
        let client = Client::connect(&self.sockets.join(format!("{INIT}.sock")));
        let status = client.and_then(|mut client| client.call(STATUS, Map::new()));
        status.unwrap_or_default()
    }

    /// Hands a piece of a file on to the unit that has asked for it. One of a request that has its answer, and so may
    /// have crossed it on the way, is dropped. What the unit does not read yet waits here, and nobody waits for it.
    fn hand_over(&self, piece: FilePiece) {
        let mut shared = self.shared();
        let (id, user) = (piece.id, shared.user);
        let asked = shared.open.iter_mut().find(|(_, asked)| asked.id == id);
        let Some((&number, asked)) = asked else { return };
        match asked.relayed.take(piece) {
            Ok(()) => asked.forward(),
            Err(failure) => {
                asked.end();
                drop(shared);
                let reply = Reply { id, body: ReplyBody::Error(failure) };
                self.end(Ticket { user, number, id }, &reply);
            }
        }
    }

    /// Sends the last reply to a request, if it still waits for one.
    fn end(&self, ticket: Ticket, reply: &Reply) {
        if self.shared().open.remove(&ticket.number).is_some() {
            // Whoever is gone is told nothing.
            let _ = self.say(ticket.user, &framed(serde_json::to_vec(reply)));
        }
    }

    /// Sends `bytes` to `user`, whole.
    fn say(&self, user: u64, mut bytes: &[u8]) -> io::Result<()> {
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

impl Asked {
    /// Gives the unit as much of the file as it takes now.
    fn forward(&mut self) {
        let Some(stream) = &self.stream else { return };
        while let Some(pending) = self.relayed.pending() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(stream, pending, flags) {
                Ok(count) => self.relayed.sent(count),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return,
                // Its thread reads the end of its answers.
                Err(_) => {
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }

    /// Nobody waits for the answer any more. Returns that it is not to be kept.
    fn end(&self) -> bool {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        false
    }
}

/// A connection to the socket at `path`. If others wait there already it waits with them, for a while.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// Writes `message` at once and whole.
fn write(stream: &UnixStream, message: &ClientMessage) -> io::Result<()> {
    let frame = framed(serde_json::to_vec(message));
    let sent = rustix::net::send(stream, &frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    let unread = || io::Error::other("it does not read its requests");
    if sent == frame.len() { Ok(()) } else { Err(unread()) }
}

/// A message or a reply as a frame; nothing, if it fits none.
fn framed(json: serde_json::Result<Vec<u8>>) -> Vec<u8> {
    let mut frame = Vec::new();
    let _ = encode(&json.unwrap_or_default(), &mut frame);
    frame
}

#[cfg(test)]
mod tests;
