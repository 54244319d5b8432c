//! A client that waits for its answers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use octet_appliance::UnitName;
use serde_json::{Map, Value};

use crate::frame::{Decoder, FrameError, encode};
use crate::message::{Failure, Reply, ReplyBody, Request};
use crate::verb::{DESCRIBE, Verb};

/// A call that did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error("cannot reach {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the appliance broke: {0}")]
    Io(#[from] io::Error),
    /// The other side closed the connection before its answer.
    #[error("the appliance closed the connection before it answered")]
    Closed,
    /// The answer is no frame.
    #[error("the appliance answered with something else than the control protocol: {0}")]
    Frame(#[from] FrameError),
    /// The answer is no reply.
    #[error("the appliance answered with something else than the control protocol: {0}")]
    Json(#[from] serde_json::Error),
    /// The unit refused, or tried and failed.
    #[error("{0}")]
    Failure(#[from] Failure),
}

/// A connection to a unit, or to a port that reaches several.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    decoder: Decoder,
    unit: Option<UnitName>,
    last_id: u64,
}

impl Client<UnixStream> {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(path: &Path) -> Result<Self, CallError> {
        UnixStream::connect(path)
            .map(Self::new)
            .map_err(|source| CallError::Connect { path: path.to_owned(), source })
    }
}

impl<S: Read + Write> Client<S> {
    /// A client on a stream that is connected.
    pub fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::default(), unit: None, last_id: first_id() }
    }

    /// Speaks to `unit` from now on, on a connection that reaches several.
    #[must_use]
    pub fn to_unit(mut self, unit: Option<UnitName>) -> Self {
        self.unit = unit;
        self
    }

    /// The stream underneath.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The verbs of the unit.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn describe(&mut self) -> Result<Vec<Verb>, CallError> {
        Ok(serde_json::from_value(self.call(DESCRIBE, Map::new())?)?)
    }

    /// Asks, and waits for the end of the answer; items that come before it are dropped.
    ///
    /// # Errors
    /// The connection broke, or the unit refused or failed.
    pub fn call(&mut self, verb: &str, args: Map<String, Value>) -> Result<Value, CallError> {
        self.call_each(verb, args, |_| true)
    }

    /// Asks, and hands each item of the answer to `item` until it returns `false` (the answer is
    /// then `null`) or the answer ends.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_each(
        &mut self,
        verb: &str,
        args: Map<String, Value>,
        mut item: impl FnMut(&Value) -> bool,
    ) -> Result<Value, CallError> {
        self.last_id += 1;
        let request =
            Request { id: self.last_id, unit: self.unit.clone(), verb: verb.to_owned(), args };
        let mut frame = Vec::new();
        encode(&serde_json::to_vec(&request)?, &mut frame)?;
        self.stream.write_all(&frame)?;
        loop {
            let reply = self.reply()?;
            // Replies to another id are the rest of an answer that was given up.
            match reply.body {
                ReplyBody::Error(failure) if reply.id == request.id || reply.id == 0 => {
                    return Err(failure.into());
                }
                ReplyBody::End(value) if reply.id == request.id => return Ok(value),
                ReplyBody::Item(value) if reply.id == request.id && !item(&value) => {
                    return Ok(Value::Null);
                }
                _ => {}
            }
        }
    }

    fn reply(&mut self) -> Result<Reply, CallError> {
        let mut buffer = [0; 8192];
        loop {
            match self.decoder.next_payload() {
                Ok(Some(payload)) => return Ok(serde_json::from_slice(&payload)?),
                Ok(None) => {}
                // A serial port may still carry the end of a frame meant for the client before.
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
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A number that the client before on the same serial line has hardly used: what is still on its
/// way to that one must not be taken for an answer to this one. JSON keeps 53 bits exactly.
fn first_id() -> u64 {
    RandomState::new().build_hasher().finish() >> 12
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;

    /// A server in a few lines: one item, then the end.
    fn serve(mut stream: UnixStream) {
        let mut connection = Connection::default();
        let mut buffer = [0; 100];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            for request in connection.received(&buffer[..count], true) {
                for body in [ReplyBody::Item(1.into()), ReplyBody::End(request.verb.into())] {
                    connection.reply(&Reply { id: request.id, body }).unwrap();
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
}
