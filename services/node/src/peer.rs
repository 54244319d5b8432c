//! One client of a threaded service: a blocking server-side connection of the control protocol.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use octet_control::file::{FileIntake, MAX_WANT, MAX_WANTS};
use octet_control::{Failure, Request};
use serde_json::Value;

use crate::serve::connection::{ServerConnection, Whole, broken};

/// The timeout for a client's first request, for the rest of a started request, and for a requested part of a
/// file. After its first request a client may be silent forever: some stay only to keep a registration.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    connection: ServerConnection,
    patience: Duration,
}

impl Peer {
    pub fn new(stream: UnixStream) -> Self {
        Self::with_patience(stream, TIMEOUT)
    }

    fn with_patience(stream: UnixStream, patience: Duration) -> Self {
        Self { stream, connection: ServerConnection::default(), patience }
    }

    /// The client's next request; `None` at the end of the stream.
    ///
    /// # Errors
    /// The connection broke, or a timeout expired.
    pub fn next_request(&mut self) -> io::Result<Option<Request>> {
        self.stream.set_write_timeout(Some(self.patience))?;
        let mut due = None;
        loop {
            if let Some(request) = self.connection.next_request() {
                return Ok(Some(request));
            }
            let begun = self.connection.is_request_due();
            due = begun.then(|| due.unwrap_or_else(|| Instant::now() + self.patience));
            // An expired deadline is an error as well.
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            self.stream.set_read_timeout(left)?;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads more of the client's bytes; `false` at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        loop {
            if self.connection.is_finished() {
                return Ok(false);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.connection.receive(&buffer[..count]);
                    return self.flush().map(|()| true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one of several items that answer request `id`.
    ///
    /// # Errors
    /// The connection broke, or the client does not read.
    pub fn item(&mut self, id: u64, item: Value) -> io::Result<()> {
        self.connection.item(id, item)?;
        self.flush()
    }

    /// Ends the answer to the request `id`.
    ///
    /// # Errors
    /// The connection broke, or the client does not read.
    pub fn end(&mut self, id: u64, answer: Result<Value, Failure>) -> io::Result<()> {
        self.connection.end(id, answer)?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.has_pending() {
            let count = self.stream.write(self.connection.pending())?;
            self.connection.sent(count);
        }
        Ok(())
    }

    /// Reads the whole file that is an argument of request `id`.
    ///
    /// # Errors
    /// It is longer than `longest` bytes, or does not arrive.
    pub fn read_file(&mut self, id: u64, longest: u64) -> Result<Vec<u8>, Failure> {
        let mut file = Whole::new(longest);
        loop {
            let (at, length) = file.wants();
            let part = self.read_part(id, at, length)?;
            if file.take(&part)? {
                return Ok(file.bytes);
            }
        }
    }

    /// Reads `length` bytes at offset `at` of the file that is an argument of request `id`; at most
    /// [`MAX_WANT`], and fewer at the end of the file.
    pub fn read_part(&mut self, id: u64, at: u64, length: u32) -> Result<Vec<u8>, Failure> {
        let mut intake = FileIntake::default();
        self.want(id, &mut intake, at, length)?;
        self.part(id, &mut intake)
    }

    /// Reads the file that is an argument of request `id` and passes each part to `part`, until that returns
    /// `false`.
    ///
    /// Up to `window` wants of [`MAX_WANT`] bytes each are in flight, [`MAX_WANTS`] at most, so that a window
    /// of parts costs one round trip. This side buffers one part; a relay buffers what was requested and is
    /// unread. `size` is the file's length, if the client knows it.
    ///
    /// # Errors
    /// The file does not arrive completely.
    pub fn read_parts(
        &mut self,
        id: u64,
        size: Option<u64>,
        window: usize,
        mut part: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), Failure> {
        let window = window.clamp(1, MAX_WANTS);
        let (mut intake, mut next) = (FileIntake::default(), 0);
        loop {
            // By the given length, the file ends within the last part that is requested ahead. Another part is
            // requested only if the file is longer than that.
            while intake.in_flight() == 0
                || intake.in_flight() < window && size.is_none_or(|size| next <= size)
            {
                self.want(id, &mut intake, next, MAX_WANT)?;
                next += u64::from(MAX_WANT);
            }
            let bytes = self.part(id, &mut intake)?;
            let is_last = bytes.len() < MAX_WANT as usize;
            // Parts in flight are dropped when they arrive, like anything after an answer.
            if !part(bytes) {
                return Ok(());
            }
            if is_last {
                break;
            }
        }
        while intake.in_flight() > 0 {
            if !self.part(id, &mut intake)?.is_empty() {
                return Err(broken("it goes on after its end"));
            }
        }
        Ok(())
    }

    /// Requests a part from the client.
    fn want(
        &mut self,
        id: u64,
        intake: &mut FileIntake,
        at: u64,
        length: u32,
    ) -> Result<(), Failure> {
        self.connection.want(id, intake, at, length)?;
        self.flush().map_err(|error| broken(&error.to_string()))
    }

    /// Receives the first of the requested parts.
    fn part(&mut self, id: u64, intake: &mut FileIntake) -> Result<Vec<u8>, Failure> {
        let lost = |error: io::Error| broken(&error.to_string());
        self.stream.set_read_timeout(Some(self.patience)).map_err(lost)?;
        loop {
            let part = self.connection.next_part(id, intake)?;
            self.flush().map_err(lost)?;
            if let Some(part) = part {
                return Ok(part);
            }
            if !self.fill().map_err(lost)? {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_as_pid_1::{MemoryFile, Raw, TIMEOUT};
    use octet_control::file::MAX_CHUNK;
    use octet_control::{CallError, Client, ClientMessage, FilePiece, PieceBody, ReplyBody};
    use serde_json::{Map, json};

    /// A client that sends no complete request is disconnected; one with a request stays, and is answered
    /// later.
    #[test]
    fn only_who_has_asked_may_be_silent() {
        let mut frame = vec![];
        octet_control::encode(br#"{"id":1,"verb":"status"}"#, &mut frame).unwrap();
        let client = |said: &[u8]| {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(said).unwrap();
            (ours, Peer::with_patience(theirs, Duration::from_millis(20)))
        };
        let half = &frame[..frame.len() - 1];
        let (mut stays, mut asked) = client(&frame);
        assert_eq!(asked.next_request().unwrap().unwrap().verb, "status");
        let waits = std::thread::spawn(move || asked.next_request());
        for said in [&[][..], &frame[..1], half] {
            let (_ours, mut peer) = client(said);
            peer.next_request().unwrap_err();
        }
        let (_ours, mut peer) = client(&[&frame, half].concat());
        peer.next_request().unwrap().unwrap();
        peer.next_request().unwrap_err();
        // This client has waited for longer than the others.
        stays.write_all(&frame).unwrap();
        assert_eq!(waits.join().unwrap().unwrap().unwrap().verb, "status");
    }

    #[test]
    fn files_come_whole_or_not_at_all() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let longest = u64::from(MAX_WANT) + 100;
        let server = std::thread::spawn(move || {
            let mut peer = Peer::new(theirs);
            while let Some(request) = peer.next_request().unwrap() {
                let file = peer.read_file(request.id, longest);
                peer.end(request.id, file.map(|bytes| json!(bytes.len()))).unwrap();
            }
        });
        let mut client = Client::new(ours);
        let mut send = |length: u64| {
            let mut file = MemoryFile(vec![7; length as usize]);
            client.call_with("take", Map::new(), Some(&mut file), |_| true)
        };
        for length in [0, 1, u64::from(MAX_WANT), u64::from(MAX_WANT) + 1, longest] {
            assert_eq!(send(length).unwrap(), length);
        }
        for length in [longest + 1, 3 * longest] {
            let error = send(length).unwrap_err();
            assert!(
                matches!(&error, CallError::Failure(failure)
                if failure.message.contains("longer than")),
                "{error}"
            );
        }
        assert_eq!(send(5).unwrap(), 5);
        drop(client);
        server.join().unwrap();
    }

    /// A unit that reads files with a window of `window` wants. It answers with the number of bytes and of
    /// parts; `stop` reads only one part.
    fn reader(window: usize) -> (UnixStream, std::thread::JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut peer = Peer::new(theirs);
            while let Some(request) = peer.next_request().unwrap() {
                let size = request.args.get("size").and_then(Value::as_u64);
                let (mut bytes, mut parts) = (0, 0);
                let read = peer.read_parts(request.id, size, window, |part| {
                    (bytes, parts) = (bytes + part.len(), parts + 1);
                    request.verb != "stop"
                });
                peer.end(request.id, read.map(|()| json!([bytes, parts]))).unwrap();
            }
        });
        ours.set_read_timeout(Some(TIMEOUT)).unwrap();
        (ours, server)
    }

    fn part() -> u64 {
        u64::from(MAX_WANT)
    }

    /// Files of lengths around multiples of a part arrive completely, whether the client gives the length,
    /// none, or a wrong one; and the connection stays in step.
    #[test]
    fn files_end_with_wants_in_flight() {
        for window in [1, 2, MAX_WANTS] {
            let (stream, server) = reader(window);
            let mut client = Client::new(stream);
            let lengths = [0, 1, part() - 1, part(), part() + 1, 3 * part(), 40 * part() + 7];
            for length in lengths {
                let sizes = [None, Some(length), Some(length / 2), Some(2 * length + 1)];
                for size in sizes {
                    let args = size.map(|size| ("size".to_owned(), json!(size)));
                    let mut file = MemoryFile(vec![7; length as usize]);
                    let args = args.into_iter().collect();
                    let end = client.call_with("take", args, Some(&mut file), |_| true).unwrap();
                    // The file ends with the shorter part; anything after it is ignored.
                    assert_eq!(end, json!([length, length / part() + 1]), "{window} {size:?}");
                }
            }
            // The unit stops early.
            let mut file = MemoryFile(vec![7; 40 * part() as usize]);
            let end = client.call_with("stop", Map::new(), Some(&mut file), |_| true).unwrap();
            assert_eq!(end, json!([part(), 1]));
            let end = client.call_with("take", Map::new(), Some(&mut file), |_| true).unwrap();
            assert_eq!(end, json!([40 * part(), 41]));
            drop(client);
            server.join().unwrap();
        }
    }

    /// The whole window is requested before the first answer, and one more part per answer.
    #[test]
    fn the_window_is_in_flight_before_the_first_answer() {
        let (stream, server) = reader(usize::MAX);
        let mut client = Raw::new(stream);
        client.ask(1, "take", json!({}));
        let offsets = |from: usize, to: usize| (from..to).map(|number| number as u64 * part());
        assert_eq!(client.wants(MAX_WANTS), offsets(0, MAX_WANTS).collect::<Vec<_>>());
        for at in (0..part()).step_by(MAX_CHUNK) {
            client.chunk(1, at, MAX_CHUNK);
        }
        assert_eq!(client.wants(1), offsets(MAX_WANTS, MAX_WANTS + 1).collect::<Vec<_>>());
        // The file ends there, and the requests in flight end, too.
        for at in offsets(1, MAX_WANTS + 1) {
            client.chunk(1, at, 0);
        }
        assert_eq!(client.reply().body, ReplyBody::End(json!([part(), 2])));
        // No part is requested beyond a given length.
        client.ask(2, "take", json!({ "size": 2 * part() }));
        assert_eq!(client.wants(3), offsets(0, 3).collect::<Vec<_>>());
        for at in offsets(0, 3) {
            client.chunk(2, at, 0);
        }
        assert_eq!(client.reply().body, ReplyBody::End(json!([0, 1])));
        drop(client);
        server.join().unwrap();
    }

    /// A client that answers in another order, with too much or with something else is refused with a reason.
    /// What it sends after that is dropped, and the next request is answered.
    #[test]
    fn what_was_not_wanted_is_refused() {
        let (stream, server) = reader(4);
        let mut client = Raw::new(stream);
        type Misbehaves = fn(&mut Raw<UnixStream>, u64);
        let cases: [(&str, Misbehaves); 5] = [
            ("byte 65536 of the file came where byte 0 was next", |it, id| it.chunk(id, part(), 9)),
            ("byte 10 of the file came where byte 9 was next", |it, id| {
                it.chunk(id, 0, 9);
                it.chunk(id, 10, 9);
            }),
            ("byte 9 of the file came where byte 65536 was next", |it, id| {
                it.chunk(id, 0, 9);
                it.chunk(id, 9, 0);
                it.chunk(id, 9, 9);
            }),
            ("it goes on after its end", |it, id| {
                it.chunk(id, 0, 0);
                it.chunk(id, part(), 9);
                it.chunk(id, part() + 9, 0);
            }),
            ("the stick was pulled out", |it, id| {
                let why = PieceBody::Broken("the stick was pulled out".to_owned());
                it.send(&ClientMessage::Piece(FilePiece { id, body: why }));
            }),
        ];
        for (id, (why, misbehave)) in (1..).zip(cases) {
            client.ask(id, "take", json!({}));
            client.wants(4);
            misbehave(&mut client, id);
            let failure = client.failure();
            assert!(failure.message.contains(why), "{failure}");
            client.chunk(id, 0, 1);
        }
        client.ask(9, "take", json!({ "size": 0 }));
        client.wants(1);
        client.chunk(9, 0, 0);
        assert_eq!(client.reply().body, ReplyBody::End(json!([0, 1])));
        drop(client);
        server.join().unwrap();
    }

    /// A client that disconnects within a file causes an error.
    #[test]
    fn a_file_of_a_client_that_is_gone_has_no_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut peer = Peer::new(theirs);
        let mut client = Raw::new(ours);
        client.ask(1, "take", json!({}));
        client.chunk(1, 0, 9);
        drop(client);
        let request = peer.next_request().unwrap().unwrap();
        let failure = peer.read_parts(request.id, None, 4, |_| true).unwrap_err();
        assert!(failure.message.contains("did not come to its end"), "{failure}");
    }
}
