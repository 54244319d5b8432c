//! The server's side of one connection, sans-io: bytes in, messages out; replies in, bytes out. The
//! event loop around it moves the bytes.

use std::collections::VecDeque;

use crate::frame::{Decoder, encode};
use crate::message::{ClientMessage, Failure, FailureCode, Reply, ReplyBody};

/// Maximum number of unread bytes; a client with more is disconnected at the next reply. With one
/// frame on top, a slow or dead client costs the server no more than this.
const MAX_UNREAD: usize = 128 << 10;

/// Buffer size in bytes that is kept for a client that has read everything: most answers are small.
const RETAINED_CAPACITY: usize = 16 << 10;

/// Maximum size of a message to a server, in bytes. Requests are small; bulk data is sent in
/// chunks, as requested.
const MAX_REQUEST: usize = 16 << 10;

/// The client does not read its replies; it must be disconnected.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow;

/// The state of one connection.
#[derive(Debug)]
pub struct Connection {
    decoder: Decoder,
    out: VecDeque<u8>,
    closing: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self { decoder: Decoder::with_limit(MAX_REQUEST), out: VecDeque::new(), closing: false }
    }
}

impl Connection {
    /// Handles received bytes and returns the complete messages.
    ///
    /// A broken frame or message is answered with an error and ends the connection
    /// ([`finished`](Self::finished)) if `closable`; on a serial port decoding continues at the
    /// next frame.
    pub fn received(&mut self, bytes: &[u8], closable: bool) -> Vec<ClientMessage> {
        if self.closing {
            return vec![];
        }
        self.decoder.push(bytes);
        let mut messages = Vec::new();
        let mut broken = false;
        loop {
            let problem = match self.decoder.next_payload() {
                Ok(None) => break,
                Ok(Some(payload)) => match serde_json::from_slice(&payload) {
                    Ok(message) => {
                        messages.push(message);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) => {
                    self.decoder.resynchronise();
                    error.to_string()
                }
            };
            if !broken {
                broken = true;
                let help = "send frames of JSON as docs/control.md describes";
                let failure = Failure::new(FailureCode::BadRequest, problem, help);
                // An error reply always fits an empty buffer; a connection whose buffer is full is
                // dropped by its owner.
                let _ = self.reply(&Reply { id: 0, body: ReplyBody::Error(failure) });
            }
            if closable {
                self.closing = true;
                break;
            }
        }
        messages
    }

    /// Queues a reply.
    ///
    /// # Errors
    /// The client has left too much unread; drop the connection.
    pub fn reply(&mut self, reply: &Reply) -> Result<(), Overflow> {
        let mut frame = Vec::new();
        let fits = serde_json::to_vec(reply).is_ok_and(|json| encode(&json, &mut frame).is_ok());
        if !fits {
            let failure = Failure::new(
                FailureCode::Failed,
                "the answer does not fit a frame",
                "ask for less, for example fewer lines",
            );
            let error = Reply { id: reply.id, body: ReplyBody::Error(failure) };
            if let Ok(json) = serde_json::to_vec(&error) {
                let _ = encode(&json, &mut frame);
            }
        }
        if self.out.len() > MAX_UNREAD {
            return Err(Overflow);
        }
        self.out.extend(frame);
        Ok(())
    }

    /// Bytes to be sent.
    pub fn pending(&self) -> &[u8] {
        self.out.as_slices().0
    }

    pub fn pending_count(&self) -> usize {
        self.out.len()
    }

    pub fn has_pending(&self) -> bool {
        !self.out.is_empty()
    }

    /// Removes the first `count` pending bytes, which were sent.
    pub fn sent(&mut self, count: usize) {
        self.out.drain(..count.min(self.out.len()));
        if self.out.is_empty() && self.out.capacity() > RETAINED_CAPACITY {
            self.out = VecDeque::new();
        }
    }

    /// Whether a message is incomplete.
    pub fn is_mid_message(&self) -> bool {
        !self.decoder.is_empty()
    }

    /// Whether the connection is to be closed now.
    pub fn finished(&self) -> bool {
        self.closing && self.out.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(json.as_bytes(), &mut out).unwrap();
        out
    }

    #[test]
    fn a_broken_frame_ends_a_socket_but_not_a_port() {
        let bytes = [b"garbage".to_vec(), frame(r#"{"id":1,"verb":"status"}"#)].concat();
        let mut socket = Connection::default();
        assert!(socket.received(&bytes, true).is_empty());
        assert!(socket.has_pending() && !socket.finished());
        socket.sent(usize::MAX);
        assert!(socket.finished());

        let mut port = Connection::default();
        let messages = port.received(&bytes, false);
        assert!(
            matches!(&messages[..], [ClientMessage::Request(request)] if request.verb == "status")
        );
        port.sent(usize::MAX);
        assert!(!port.finished());
    }

    #[test]
    fn an_unread_client_is_given_up() {
        let mut connection = Connection::default();
        let reply = Reply { id: 1, body: ReplyBody::Item("x".repeat(1 << 19).into()) };
        let given_up = (0..100).position(|_| connection.reply(&reply) == Err(Overflow));
        assert!(given_up.is_some_and(|at| at > 0));
    }

    #[test]
    fn an_answer_too_long_becomes_an_error() {
        let mut connection = Connection::default();
        let reply = Reply { id: 1, body: ReplyBody::End("x".repeat(2 << 20).into()) };
        connection.reply(&reply).unwrap();
        assert!(String::from_utf8_lossy(connection.pending()).contains("does not fit"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), closable in any::<bool>()) {
            let mut connection = Connection::default();
            connection.received(&bytes, closable);
        }

        /// Frames of random payload, as a hostile client would send them.
        #[test]
        fn never_panics_inside_frames(payload in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = Vec::new();
            encode(&payload, &mut bytes).unwrap();
            Connection::default().received(&bytes, true);
        }
    }
}
