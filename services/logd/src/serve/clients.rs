//! All clients of the control socket.

use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use octet_node::control::{ClientMessage, ReplyBody, Request};
use octet_node::serve::places::{ConnectionLimit, ConnectionLimits};
use octet_node::{Callers, peer_uid};
use serde_json::Value;

use crate::poll::{EventSource, Poll, Ready};
use crate::read::{ReadJob, ReadResponse};
use crate::tail::Tail;

use super::answer::{LogReply, answer, no_lines};
use super::client::LogClient;
use super::show::show;

/// The maximum number of connections; further ones are refused.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 64, for_operators: 16, of_one: 16 };

/// The maximum number of connections that are accepted or refused per turn.
const AT_ONCE: usize = 16;

pub struct LogClients {
    tail: Arc<Tail>,
    listener: UnixListener,
    callers: Callers,
    places: ConnectionLimit,
    clients: HashMap<u32, LogClient>,
    last_token: u32,
    jobs: Sender<ReadJob>,
    done: Receiver<ReadResponse>,
}

impl LogClients {
    /// Serves `callers` that connect to `listener`. `jobs` are sent to the reader, whose results
    /// arrive at `done`.
    pub fn new(
        tail: Arc<Tail>,
        listener: UnixListener,
        callers: Callers,
        jobs: Sender<ReadJob>,
        done: Receiver<ReadResponse>,
    ) -> Self {
        let (places, clients) = (ConnectionLimit::new(LIMITS), HashMap::new());
        Self { tail, listener, callers, places, clients, last_token: 0, jobs, done }
    }

    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Accepts waiting connections, up to the limit per turn.
    pub fn accept(&mut self, poll: &Poll) {
        for _ in 0..AT_ONCE {
            let Ok((stream, _)) = self.listener.accept() else { return };
            // Connections without peer credentials, of users without any permitted verb, and above
            // the limits are dropped.
            let Ok(uid) = peer_uid(&stream) else { continue };
            let Some(place) = self.places.admit(&self.callers, uid) else { continue };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.last_token = self.last_token.wrapping_add(1);
            if poll.add(&stream, EventSource::Client(self.last_token)).is_ok() {
                self.clients.insert(self.last_token, LogClient::new(stream, uid, place));
            }
        }
    }

    /// Handles an event of client `token`.
    pub fn serve(&mut self, token: u32, ready: Ready) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let messages = if ready.hung_up { None } else { client.receive() };
        let Some(messages) = messages else {
            self.clients.remove(&token);
            return;
        };
        for message in messages {
            // File chunks belong to verbs with file arguments; logd has none.
            if let ClientMessage::Request(request) = message {
                respond(&self.tail, &self.callers, client, request);
            }
        }
    }

    /// Queues the reader's results for their clients.
    pub fn receive_batches(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            if let Some(client) = self.clients.get_mut(&done.client) {
                queue_batch(&self.tail, client, done);
            }
        }
    }

    /// Sends replies, requests the next batches, and drops clients that have finished or failed.
    pub fn advance(&mut self, poll: &Poll) {
        let next = self.tail.lock().ring.next_sequence();
        let jobs = &self.jobs;
        self.clients.retain(|&token, client| {
            if !client.send() {
                return false;
            }
            if let Some(cursor) = client.take_cursor(next) {
                let _ = jobs.send(ReadJob { client: token, cursor });
            }
            let wanted = client.poll_interest();
            if wanted != client.interest {
                client.interest = wanted;
                let source = EventSource::Client(token);
                return poll.change(&client.stream, source, wanted.0, wanted.1).is_ok();
            }
            true
        });
    }
}

fn respond(tail: &Tail, callers: &Callers, client: &mut LogClient, request: Request) {
    let id = request.id;
    let (uid, _) = callers.effective_caller(client.uid, request.by);
    let allowed = callers.check(uid, &request.verb);
    match allowed.and_then(|()| answer(tail, request, client.reading.is_some())) {
        Ok(LogReply::Now(value)) => client.reply(id, ReplyBody::End(value)),
        Ok(LogReply::Reading(reading)) => client.reading = Some(*reading),
        Err(failure) => client.reply(id, ReplyBody::Error(failure)),
    }
}

fn queue_batch(tail: &Tail, client: &mut LogClient, done: ReadResponse) {
    let Some(mut reading) = client.reading.take() else { return };
    let id = reading.id;
    if !done.batch.found.is_empty() {
        reading.found_any = true;
        client.reply(id, ReplyBody::Item(show(&done.batch.found, reading.fields)));
    }
    if done.batch.at_end && !done.cursor.query.follow {
        let unit = done.cursor.query.unit.as_deref();
        let nothing = if reading.found_any { None } else { no_lines(tail, unit) };
        client.reply(id, nothing.map_or(ReplyBody::End(Value::Null), ReplyBody::Error));
        return;
    }
    reading.at_end = done.batch.at_end.then_some(done.cursor.next);
    reading.cursor = Some(done.cursor);
    client.reading = Some(reading);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake::Wake;
    use octet_node::boot::boot_id;
    use std::iter;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    /// Connections above the limit per turn wait for the next one.
    #[test]
    fn no_turn_is_longer_than_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logd.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let tail = Arc::new(Tail::new(1 << 16, boot_id(), Wake::new().unwrap()));
        let ((jobs, _jobs), (_done, done)) = (channel(), channel());
        let mut clients = LogClients::new(tail, listener, Callers::default(), jobs, done);
        let _waiting: Vec<_> =
            (0..AT_ONCE * 2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        clients.accept(&Poll::new().unwrap());
        assert_eq!(iter::from_fn(|| clients.listener().accept().ok()).count(), AT_ONCE);
    }
}
