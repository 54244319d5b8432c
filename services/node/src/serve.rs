//! A service's socket, served by one thread: for daemons that have little to do but answer. Those
//! that wait while they answer use [`threads`], or `tasks`.

#[cfg(test)]
#[cfg(feature = "tasks")]
mod bounds;
mod client;
pub mod places;
#[cfg(feature = "tasks")]
pub mod tasks;
pub mod threads;
pub mod verbs;

use std::collections::HashMap;
use std::io;
use std::iter;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use octet_control::{Arguments, Failure, Message, ReplyBody, Request, Verb};
use rustix::event::{PollFd, PollFlags, poll};

use crate::callers::{Callers, PID_1, peer_uid};
use client::Client;

/// How many clients may be connected at once; a further one is turned away.
const MOST_CLIENTS: usize = 64;

/// How many of them one user may be, so that a service that is taken over keeps no other out. PID 1,
/// which asks for operators, has what is left.
const MOST_OF_ONE: usize = 4;

/// How many are let in, or turned away, before others are served again.
const AT_ONCE: usize = 16;

/// A request that is to be answered, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    client: u32,
    id: u64,
}

/// What a daemon does.
pub trait Service {
    /// All that it can be asked; `describe` is among them, and is answered with this.
    fn verbs(&self) -> Vec<Verb>;

    /// User `uid` asks for `verb`, and gives arguments that fit it. What is put into `answers`, for
    /// this ticket and for others, is sent.
    ///
    /// # Errors
    /// It cannot be; that is the answer.
    fn ask(
        &mut self,
        uid: u32,
        ticket: Ticket,
        verb: &str,
        args: &Arguments,
        answers: &mut Answers,
    ) -> Result<(), Failure>;

    /// Nobody waits any more for the answers of whom `gone` says so.
    fn forget(&mut self, gone: &dyn Fn(Ticket) -> bool);
}

/// Answers on their way.
#[derive(Debug, Default)]
pub struct Answers(Vec<(Ticket, ReplyBody)>);

impl Answers {
    /// Sends `body` to whom holds `ticket`.
    pub fn put(&mut self, ticket: Ticket, body: ReplyBody) {
        self.0.push((ticket, body));
    }
}

/// Serves the `callers` that connect to `listener`, for good.
///
/// # Errors
/// The kernel has no word of what is going on.
pub fn serve(
    listener: &UnixListener,
    callers: &Callers,
    service: &mut impl Service,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = HashMap::<u32, Client>::new();
    let mut last = 0u32;
    loop {
        let before = clients.len();
        let ready = wait(listener, &mut clients)?;
        let mut answers = Answers::default();
        for token in ready {
            let Some(client) = clients.get_mut(&token) else { continue };
            for message in client.receive() {
                // Pieces of files are for verbs that ask for them.
                let Message::Request(request) = message else { continue };
                let ticket = Ticket { client: token, id: request.id };
                let asked = ask(service, callers, client.uid, ticket, request, &mut answers);
                if let Err(failure) = asked {
                    answers.put(ticket, ReplyBody::Error(failure));
                }
            }
        }
        for (ticket, body) in answers.0 {
            if let Some(client) = clients.get_mut(&ticket.client) {
                client.reply(ticket.id, body);
            }
        }
        clients.retain(|_, client| client.send());
        if clients.len() < before {
            service.forget(&|ticket| !clients.contains_key(&ticket.client));
        }
        accept(listener, callers, &mut clients, &mut last);
    }
}

fn ask(
    service: &mut impl Service,
    callers: &Callers,
    uid: u32,
    ticket: Ticket,
    request: Request,
    answers: &mut Answers,
) -> Result<(), Failure> {
    callers.check(uid, &request.verb)?;
    let verbs = service.verbs();
    let verb = Verb::find(&verbs, &request.verb)?;
    let args = verb.check(request.args)?;
    if verb.name == octet_control::DESCRIBE {
        answers.put(ticket, ReplyBody::End(serde_json::json!(verbs)));
        return Ok(());
    }
    service.ask(uid, ticket, &verb.name, &args, answers)
}

/// Takes those who wait at the socket, some of them at a time, who may ask at all and find room.
fn accept(
    listener: &UnixListener,
    callers: &Callers,
    clients: &mut HashMap<u32, Client>,
    last: &mut u32,
) {
    for (stream, _) in iter::from_fn(|| listener.accept().ok()).take(AT_ONCE) {
        let Ok(uid) = peer_uid(&stream) else { continue };
        let same = clients.values().filter(|client| client.uid == uid).count();
        let room = clients.len() < MOST_CLIENTS && (uid == PID_1 || same < MOST_OF_ONE);
        if room && callers.knows(uid) && stream.set_nonblocking(true).is_ok() {
            *last = last.wrapping_add(1);
            clients.insert(*last, Client::new(stream, uid));
        }
    }
}

/// Waits until something happens, drops who has gone, and says who else has something for us.
fn wait(listener: &UnixListener, clients: &mut HashMap<u32, Client>) -> io::Result<Vec<u32>> {
    let mut files = vec![PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
    let mut tokens = vec![];
    for (token, client) in &*clients {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, client.may_ask());
        flags.set(PollFlags::OUT, client.has_pending());
        files.push(PollFd::from_borrowed_fd(client.stream.as_fd(), flags));
        tokens.push(*token);
    }
    match poll(&mut files, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(vec![]),
        Err(error) => return Err(error.into()),
    }
    let happened: Vec<PollFlags> = files[1..].iter().map(PollFd::revents).collect();
    drop(files);
    let mut ready = vec![];
    for (token, flags) in tokens.into_iter().zip(happened) {
        // Whoever has gone altogether waits for no answer, and would be reported for ever.
        if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            clients.remove(&token);
        } else if !flags.is_empty() {
            ready.push(token);
        }
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// Whoever waits beyond that waits on.
    #[test]
    fn no_turn_is_longer_than_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unit.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let _waiting: Vec<_> =
            (0..AT_ONCE * 2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        accept(&listener, &Callers::default(), &mut HashMap::new(), &mut 0);
        assert_eq!(iter::from_fn(|| listener.accept().ok()).count(), AT_ONCE);
    }
}
