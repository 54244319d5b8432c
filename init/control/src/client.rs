//! A blocking client.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use octet_appliance::UnitName;
use serde_json::{Map, Value};

use crate::file::{ChunkBytes, MAX_CHUNK, MAX_WANT, Source, Want};
use crate::frame::{Decoder, FrameError, encode};
use crate::message::{By, ClientMessage, Failure, FilePiece, PieceBody, Reply, ReplyBody, Request};
use crate::verb::{DESCRIBE, Verb};

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("cannot reach {}: {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("the connection to the appliance broke: {0}")]
    Io(#[from] io::Error),
    /// The connection was closed before the answer.
    #[error("the appliance closed the connection before it answered")]
    Closed,
    /// The answer is not a valid frame.
    #[error("the appliance answered with something else than the control protocol: {0}")]
    Frame(#[from] FrameError),
    /// The answer is not a valid reply.
    #[error("the appliance answered with something else than the control protocol: {0}")]
    Json(#[from] serde_json::Error),
    /// The unit refused the call, or it failed.
    #[error("{0}")]
    Failure(#[from] Failure),
    /// The file that is an argument cannot be read.
    #[error("the file cannot be read on: {0}")]
    File(io::Error),
}

/// A connection to a unit, or to a port that reaches several.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    decoder: Decoder,
    unit: Option<UnitName>,
    by: Option<By>,
    last_id: u64,
}

impl Client<UnixStream> {
    pub fn connect(path: &Path) -> Result<Self, CallError> {
        UnixStream::connect(path)
            .map(Self::new)
            .map_err(|source| CallError::Connect { path: path.to_owned(), source })
    }
}

impl<S: Read + Write> Client<S> {
    /// A client on a connected stream.
    pub fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::default(), unit: None, by: None, last_id: first_id() }
    }

    /// Sets the called unit, on a connection that reaches several.
    #[must_use]
    pub fn with_unit(mut self, unit: Option<UnitName>) -> Self {
        self.unit = unit;
        self
    }

    /// Sets the operator for whom it calls; only PID 1, and for PID 1 a unit that authenticates
    /// operators, may do that.
    #[must_use]
    pub fn on_behalf_of(mut self, by: By) -> Self {
        self.by = Some(by);
        self
    }

    /// Changes the called unit.
    pub fn set_unit(&mut self, unit: Option<UnitName>) {
        self.unit = unit;
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Returns the stream for another protocol; `None` if some of its data has been read already.
    pub fn into_stream(self) -> Option<S> {
        self.decoder.is_empty().then_some(self.stream)
    }

    /// The verbs of the unit.
    pub fn describe(&mut self) -> Result<Vec<Verb>, CallError> {
        Ok(serde_json::from_value(self.call(DESCRIBE, Map::new())?)?)
    }

    /// Calls a verb, and waits for the end of the answer; items before it are dropped.
    ///
    /// # Errors
    /// The connection broke, or the unit refused or failed.
    pub fn call(&mut self, verb: &str, args: Map<String, Value>) -> Result<Value, CallError> {
        self.call_each(verb, args, |_| true)
    }

    /// Calls a verb, and passes each item of the answer to `item` until it returns `false` (the
    /// result is then `null`) or the answer ends.
    pub fn call_each(
        &mut self,
        verb: &str,
        args: Map<String, Value>,
        item: impl FnMut(&Value) -> bool,
    ) -> Result<Value, CallError> {
        self.call_with(verb, args, None, item)
    }

    /// As [`call_each`](Self::call_each), with the file that is one of the arguments: the parts
    /// that the unit requests are sent in the requested order.
    pub fn call_with(
        &mut self,
        verb: &str,
        args: Map<String, Value>,
        file: Option<&mut dyn Source>,
        mut item: impl FnMut(&Value) -> bool,
    ) -> Result<Value, CallError> {
        self.last_id += 1;
        let (id, unit) = (self.last_id, self.unit.clone());
        let mut file = file.map(|source| Upload { source, eof: None });
        self.send(&ClientMessage::Request(Request {
            id,
            unit,
            verb: verb.to_owned(),
            args,
            by: self.by,
        }))?;
        loop {
            let reply = self.reply()?;
            // Replies to another id belong to an answer that was abandoned.
            match reply.body {
                ReplyBody::Error(failure) if reply.id == id || reply.id == 0 => {
                    return Err(failure.into());
                }
                _ if reply.id != id => {}
                ReplyBody::Error(_) => {} // seen above
                ReplyBody::End(value) => return Ok(value),
                ReplyBody::Item(value) if !item(&value) => return Ok(Value::Null),
                ReplyBody::Item(_) => {}
                ReplyBody::Want(want) => match self.send_part(id, want, &mut file) {
                    Err(CallError::File(error)) => {
                        self.send_piece(id, PieceBody::Broken(error.to_string()))?;
                        return Err(CallError::File(error));
                    }
                    sent => sent?,
                },
            }
        }
    }

    /// Sends the requested part of the file.
    fn send_part(
        &mut self,
        id: u64,
        want: Want,
        file: &mut Option<Upload<'_>>,
    ) -> Result<(), CallError> {
        let wrong = |message| CallError::File(io::Error::new(io::ErrorKind::InvalidData, message));
        let file =
            file.as_mut().ok_or_else(|| wrong("the unit asks for one, but none was given"))?;
        if want.length > MAX_WANT || want.at.checked_add(want.length.into()).is_none() {
            return Err(wrong("the unit asks for more of it than may be asked for at once"));
        }
        let (mut at, end) = (want.at, want.at + u64::from(want.length));
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(MAX_CHUNK);
            let mut bytes = vec![0; most];
            let count = file.read_at(at, &mut bytes).map_err(CallError::File)?;
            bytes.truncate(count);
            let at_end = count < most;
            if count > 0 {
                self.send_chunk(id, at, bytes)?;
            }
            at += count as u64;
            if at_end {
                return self.send_chunk(id, at, vec![]);
            }
        }
        Ok(())
    }

    fn send_chunk(&mut self, id: u64, at: u64, bytes: Vec<u8>) -> Result<(), CallError> {
        let chunk = ChunkBytes::new(at, bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.send_piece(id, PieceBody::Chunk(chunk))
    }

    fn send_piece(&mut self, id: u64, body: PieceBody) -> Result<(), CallError> {
        self.send(&ClientMessage::Piece(FilePiece { id, body }))
    }

    fn send(&mut self, message: &ClientMessage) -> Result<(), CallError> {
        let mut frame = Vec::new();
        encode(&serde_json::to_vec(message)?, &mut frame)?;
        Ok(self.stream.write_all(&frame)?)
    }

    fn reply(&mut self) -> Result<Reply, CallError> {
        let mut buffer = [0; 8192];
        loop {
            match self.decoder.next_payload() {
                Ok(Some(payload)) => return Ok(serde_json::from_slice(&payload)?),
                Ok(None) => {}
                // A serial port may still carry the end of a frame for the previous client.
                Err(FrameError::Magic) => {
                    self.decoder.resynchronise();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(CallError::Closed),
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // TLS reports an unannounced end of the connection as an error; in both cases the
                // answer is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(CallError::Closed);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The file of a pending request.
struct Upload<'a> {
    source: &'a mut dyn Source,
    /// Where the file ended. If it grows meanwhile, the rest is ignored: its end was already
    /// reported to the unit, which may have further wants in flight.
    eof: Option<u64>,
}

impl Upload<'_> {
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.eof.is_some_and(|end| at >= end) {
            return Ok(0);
        }
        let count = self.source.read_at(at, buffer)?;
        if count < buffer.len() {
            self.eof = Some(at + count as u64);
        }
        Ok(count)
    }
}

/// A random first request id, so that replies to the previous client on the same serial line are
/// not taken for replies to this one. JSON represents integers of 53 bits exactly.
fn first_id() -> u64 {
    RandomState::new().build_hasher().finish() >> 12
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::file::{FileArg, FileIntake};
    use serde_json::json;

    /// A small server. `x`: one item, then the end. `sum LENGTH`: reads the whole file, `LENGTH`
    /// bytes at a time, and answers with the number of bytes and their sum.
    fn serve(mut stream: UnixStream) {
        let mut connection = Connection::default();
        let mut buffer = [0; 100];
        let (mut intake, mut length, mut count, mut sum) = (FileIntake::default(), 0, 0, 0);
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            for message in connection.received(&buffer[..read], true) {
                let (id, bodies) = match message {
                    ClientMessage::Request(request) if request.verb == "sum" => {
                        length = request.args["length"].as_u64().unwrap() as u32;
                        intake = FileIntake::default();
                        (request.id, vec![ReplyBody::Want(intake.want(0, length).unwrap())])
                    }
                    ClientMessage::Request(request) => {
                        let bodies =
                            vec![ReplyBody::Item(1.into()), ReplyBody::End(request.verb.into())];
                        (request.id, bodies)
                    }
                    ClientMessage::Piece(FilePiece { id, body: PieceBody::Broken(why) }) => {
                        println!("{why}");
                        (id, vec![])
                    }
                    ClientMessage::Piece(FilePiece { id, body: PieceBody::Chunk(chunk) }) => {
                        let end = chunk.at + chunk.bytes().len() as u64;
                        let Some(bytes) = intake.take(&chunk).unwrap() else { continue };
                        count += bytes.len();
                        sum += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                        let done = bytes.len() < length.min(MAX_WANT) as usize;
                        let next = ReplyBody::Want(intake.want(end, length).unwrap());
                        let body = if done { ReplyBody::End(json!([count, sum])) } else { next };
                        (id, vec![body])
                    }
                };
                for body in bodies {
                    connection.reply(&Reply { id, body }).unwrap();
                }
            }
            while connection.has_pending() {
                let count = stream.write(connection.pending()).unwrap();
                connection.sent(count);
            }
        }
    }

    #[test]
    fn asks_and_gets() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || serve(theirs));
        let mut client = Client::new(ours);
        let mut items = vec![];
        let end = client.call_each("x", Map::new(), |item| {
            items.push(item.clone());
            true
        });
        assert_eq!((end.unwrap(), items), ("x".into(), vec![1.into()]));
        assert_eq!(client.call("y", Map::new()).unwrap(), "y");
        drop(client);
        server.join().unwrap();
    }

    /// A file in memory, which fails at some offset.
    struct Memory(Vec<u8>, Option<u64>);

    impl Source for Memory {
        fn describe(&self) -> FileArg {
            FileArg { size: Some(self.0.len() as u64), sha256: None }
        }

        fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1.is_some_and(|broken| at + buffer.len() as u64 > broken) {
                return Err(io::Error::other("the disk is gone"));
            }
            let rest = self.0.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[test]
    fn a_file_is_sent_as_it_is_wanted() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || serve(theirs));
        let mut client = Client::new(ours);
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
        let mut total = (0, 0);
        for length in [1000, MAX_CHUNK as u64, 40_000, MAX_WANT.into(), 200_000] {
            let args = Map::from_iter([("length".to_owned(), length.into())]);
            let mut file = Memory(bytes.clone(), None);
            let end = client.call_with("sum", args, Some(&mut file), |_| true).unwrap();
            total = (total.0 + bytes.len(), total.1 + sum);
            assert_eq!(end, json!([total.0, total.1]), "{length}");
        }
        let args = Map::from_iter([("length".to_owned(), 50_000.into())]);
        let mut broken = Memory(bytes, Some(100_000));
        let error = client.call_with("sum", args.clone(), Some(&mut broken), |_| true).unwrap_err();
        assert!(error.to_string().contains("the disk is gone"), "{error}");
        // The connection can still be used.
        assert_eq!(client.call("y", Map::new()).unwrap(), "y");
        let error = client.call("sum", args).unwrap_err();
        assert!(error.to_string().contains("none was given"), "{error}");
        drop(client);
        server.join().unwrap();
    }

    /// A file that grows whenever its end was read.
    struct Growing(u64);

    impl Source for Growing {
        fn describe(&self) -> FileArg {
            FileArg::default()
        }

        fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.saturating_sub(at).min(buffer.len() as u64);
            if count < buffer.len() as u64 {
                self.0 += 1000;
            }
            Ok(count as usize)
        }
    }

    /// A client's answers to these wants, which all arrive before it answers the first: offset and
    /// length of each chunk.
    fn answers(wants: &[Want], source: &mut dyn Source) -> Vec<(u64, usize)> {
        let (ours, mut unit) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours);
        let id = client.last_id + 1;
        let bodies = wants.iter().map(|&want| ReplyBody::Want(want));
        for body in bodies.chain([ReplyBody::End(Value::Null)]) {
            let mut frame = vec![];
            encode(&serde_json::to_vec(&Reply { id, body }).unwrap(), &mut frame).unwrap();
            unit.write_all(&frame).unwrap();
        }
        client.call_with("take", Map::new(), Some(source), |_| true).unwrap();
        drop(client);
        let (mut decoder, mut bytes) = (Decoder::default(), vec![]);
        unit.read_to_end(&mut bytes).unwrap();
        decoder.push(&bytes);
        let mut chunks = vec![];
        while let Some(payload) = decoder.next_payload().unwrap() {
            match serde_json::from_slice(&payload).unwrap() {
                ClientMessage::Piece(FilePiece { body: PieceBody::Chunk(chunk), .. }) => {
                    chunks.push((chunk.at, chunk.bytes().len()));
                }
                ClientMessage::Request(request) => assert_eq!((request.id, chunks.len()), (id, 0)),
                other => panic!("{other:?}"),
            }
        }
        chunks
    }

    #[test]
    fn wants_in_flight_are_answered_in_their_order() {
        let want = |at, length| Want { at, length };
        let mut file = Memory(vec![7; 25_000], None);
        let chunk = MAX_CHUNK as u64;
        let sent = answers(&[want(10_000, 10), want(0, 10_000), want(20_000, 9000)], &mut file);
        let rest = 10_000 - MAX_CHUNK;
        assert_eq!(
            sent,
            [(10_000, 10), (0, MAX_CHUNK), (chunk, rest), (20_000, 5000), (25_000, 0)]
        );
        // The file's end stays where it was first seen.
        let sent = answers(&[want(0, 500), want(500, 500), want(1000, 500)], &mut Growing(700));
        assert_eq!(sent, [(0, 500), (500, 200), (700, 0), (1000, 0)]);
    }
}
