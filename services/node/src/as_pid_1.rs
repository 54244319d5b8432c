//! What tests of a service do in PID 1's place: start it with descriptors, ask it as other users, send it files, and wait
//! for what it does.

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

pub use crate::sys::pass;

/// Nothing takes that long, however slow the machine; then a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// Between two looks at what is waited for.
pub const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Waits until `wanted`.
///
/// # Panics
/// That is not so within [`TIMEOUT`].
pub fn until(what: &str, mut wanted: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !wanted() {
        assert!(Instant::now() < deadline, "late: {what}");
        thread::sleep(RETRY_DELAY);
    }
}

/// The user to ask as: whoever runs the tests, or if that is root, nobody (65534).
pub fn unprivileged() -> u32 {
    if geteuid().is_root() { 65534 } else { geteuid().as_raw() }
}

/// Lets every user reach `socket`.
///
/// # Errors
/// It is not there, or another's.
pub fn open_to_all(socket: &Path) -> io::Result<()> {
    if let Some(folder) = socket.parent() {
        set_permissions(folder, Permissions::from_mode(0o711))?;
    }
    set_permissions(socket, Permissions::from_mode(0o666))
}

/// A connection to `socket` that the kernel says is `user`'s, who is oneself unless root asks. The
/// kernel looks at the thread that connects, so one is made that is that user's.
///
/// # Errors
/// Nobody listens there, or `user` may not ask.
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

/// A client of the control protocol that answers no want by itself: to see what is in flight, and to misbehave.
pub struct Raw<S> {
    stream: S,
    decoder: Decoder,
}

impl<S: Read + Write> Raw<S> {
    /// One on `stream`, of which reading ends with an error after [`TIMEOUT`].
    pub fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    pub fn send(&mut self, message: &ClientMessage) {
        let mut frame = vec![];
        let json = serde_json::to_vec(message).expect("a message is JSON");
        encode(&json, &mut frame).expect("a message fits a frame");
        self.stream.write_all(&frame).expect("the connection stands");
    }

    /// Asks for a verb of the unit at the other end.
    pub fn ask(&mut self, id: u64, verb: &str, args: Value) {
        let args = serde_json::from_value(args).expect("arguments have names");
        let request = Request { id, unit: None, verb: verb.to_owned(), args, by: None };
        self.send(&ClientMessage::Request(request));
    }

    /// Sends `length` bytes of a file, those from `at` on.
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

    /// Where so many wants begin that come next, while none of them is answered.
    pub fn wants(&mut self, count: usize) -> Vec<u64> {
        let mut want = || match self.reply().body {
            ReplyBody::Want(want) => want.at,
            other => panic!("{other:?}"),
        };
        (0..count).map(|_| want()).collect()
    }

    /// Why the request has failed, whatever was wanted before.
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
