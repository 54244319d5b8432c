//! A double of PID 1 for tests of services: it starts the service with descriptors, calls it as other
//! users, sends files, and waits for effects.

mod sys;

use std::fs::{Permissions, set_permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use octet_control::file::{ChunkBytes, FileArg, Source};
use octet_control::{
    ClientMessage, Decoder, Failure, FilePiece, PieceBody, Reply, ReplyBody, Request, encode,
};
use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;
use serde_json::Value;

pub use sys::pass_fds;

/// The timeout of all waits, so that a test fails instead of hanging, even on a slow machine.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// The polling interval.
pub const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Waits until `wanted` returns true.
///
/// # Panics
/// It does not within [`TIMEOUT`].
pub fn wait_until(what: &str, mut wanted: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !wanted() {
        assert!(Instant::now() < deadline, "late: {what}");
        thread::sleep(RETRY_DELAY);
    }
}

/// The user for unprivileged calls: the user of the tests or, if that is root, nobody (65534).
pub fn unprivileged() -> u32 {
    if geteuid().is_root() { 65534 } else { geteuid().as_raw() }
}

/// Makes `socket` accessible to every user.
///
/// # Errors
/// It does not exist, or belongs to another user.
pub fn open_to_all(socket: &Path) -> io::Result<()> {
    if let Some(folder) = socket.parent() {
        set_permissions(folder, Permissions::from_mode(0o711))?;
    }
    set_permissions(socket, Permissions::from_mode(0o666))
}

/// Connects to `socket` as `user`; only root can connect as another user. The kernel reports the credentials of
/// the connecting thread, so a thread with that user is started.
///
/// # Errors
/// No service listens there, or `user` may not connect.
pub fn connect_as(user: u32, socket: &Path) -> io::Result<UnixStream> {
    let connect = || {
        if geteuid().is_root() {
            let uid = Uid::from_raw(user);
            set_thread_res_uid(uid, uid, uid)?;
        }
        UnixStream::connect(socket)
    };
    let connected = thread::scope(|scope| scope.spawn(connect).join());
    connected.unwrap_or_else(|_| Err(io::Error::other("the thread that connects has panicked")))
}

#[derive(Debug)]
pub struct MemoryFile(pub Vec<u8>);

impl Source for MemoryFile {
    fn describe(&self) -> FileArg {
        FileArg::default()
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.0.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// A client of the control protocol that does not answer requests for file pieces by itself, to observe what is
/// in flight and to misbehave.
pub struct Raw<S> {
    stream: S,
    decoder: Decoder,
}

impl<S: Read + Write> Raw<S> {
    /// A client on `stream`, on which reading fails after [`TIMEOUT`].
    pub fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    pub fn send(&mut self, message: &ClientMessage) {
        let mut frame = vec![];
        let json = serde_json::to_vec(message).expect("a message is JSON");
        encode(&json, &mut frame).expect("a message fits a frame");
        self.stream.write_all(&frame).expect("the connection stands");
    }

    /// Calls a verb of the unit at the other end.
    pub fn ask(&mut self, id: u64, verb: &str, args: Value) {
        let args = serde_json::from_value(args).expect("arguments have names");
        let request = Request { id, unit: None, verb: verb.to_owned(), args, by: None };
        self.send(&ClientMessage::Request(request));
    }

    /// Sends `length` bytes of a file, from offset `at`.
    ///
    /// # Panics
    /// The connection broke, or a chunk has fewer.
    pub fn chunk(&mut self, id: u64, at: u64, length: usize) {
        let chunk = ChunkBytes::new(at, vec![7; length]).expect("a chunk takes so much");
        self.send(&ClientMessage::Piece(FilePiece { id, body: PieceBody::Chunk(chunk) }));
    }

    pub fn reply(&mut self) -> Reply {
        let mut buffer = [0; 4096];
        loop {
            if let Some(payload) = self.decoder.next_payload().expect("what comes is frames") {
                return serde_json::from_slice(&payload).expect("what comes is replies");
            }
            let count = self.stream.read(&mut buffer).expect("late: there is no further reply");
            assert_ne!(count, 0, "the connection was closed");
            self.decoder.push(&buffer[..count]);
        }
    }

    /// The offsets of the next `count` wants, none of which is answered.
    pub fn wants(&mut self, count: usize) -> Vec<u64> {
        let mut want = || match self.reply().body {
            ReplyBody::Want(want) => want.at,
            other => panic!("{other:?}"),
        };
        (0..count).map(|_| want()).collect()
    }

    /// The failure of the request, after any wants.
    pub fn failure(&mut self) -> Failure {
        loop {
            match self.reply().body {
                ReplyBody::Error(failure) => return failure,
                ReplyBody::Want(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
