//! Tests for both servers: connections are limited, and no user can use up those of others.

use std::convert::Infallible;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use octet_control::{By, CallError, Client, FailureCode, Permission, Verb};
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::task::LocalSet;

use super::places::ConnectionLimits;
use super::verbs::nothing;
use super::{tasks, threads};
use crate::callers::{Callers, PID_1};

/// A generous timeout, so that a test fails instead of hanging, even on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(180);

const LIMITS: ConnectionLimits = ConnectionLimits { all: 7, for_operators: 2, of_one: 3 };

/// Serves for the duration of the test, and tells each client its user id.
type Serve = fn(UnixListener, Callers, Receiver<u32>) -> Infallible;

fn with_threads(listener: UnixListener, callers: Callers, users: Receiver<u32>) -> Infallible {
    let user = |_: &UnixStream| users.recv().map_err(io::Error::other);
    let who = Verb::new("who", Permission::Read, "");
    let verbs = threads::Verbs::default()
        .with(who, nothing(), |(), call, ()| Ok(json!([call.uid, call.verb, call.by])));
    let Err(error) = threads::serve_users(&listener, LIMITS, user, (callers, verbs, ()));
    panic!("{error}")
}

fn with_tasks(listener: UnixListener, callers: Callers, users: Receiver<u32>) -> Infallible {
    let user = |_: &tokio::net::UnixStream| users.recv().map_err(io::Error::other);
    let who = Verb::new("who", Permission::Read, "");
    let verbs = tasks::Verbs::default()
        .with(who, nothing(), async |(), call, ()| Ok(json!([call.uid, call.verb, call.by])));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let answers = Rc::new((callers, verbs, Rc::new(())));
        tasks::serve_users(listener, LIMITS, user, answers).await
    })
}

struct Server {
    _folder: TempDir,
    socket: PathBuf,
    /// The user of the next connection.
    users: Sender<u32>,
}

impl Server {
    fn start(serve: Serve, callers: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let callers = Callers::parse(callers).unwrap();
        let (users, next) = channel();
        thread::spawn(move || serve(listener, callers, next));
        Self { _folder: folder, socket, users }
    }

    fn connect(&self, uid: u32) -> Client<UnixStream> {
        self.users.send(uid).unwrap();
        let client = Client::connect(&self.socket).unwrap();
        client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
        client
    }

    /// A connection of `uid`; `None` if it is refused.
    fn served(&self, uid: u32) -> Option<Client<UnixStream>> {
        let mut client = self.connect(uid);
        match client.call("who", Map::new()) {
            Ok(answer) => {
                assert_eq!(answer, json!([uid, "who", null]));
                Some(client)
            }
            Err(CallError::Failure(failure)) => panic!("answered: {failure}"),
            Err(_) => None,
        }
    }

    /// All connections that `uid` can have.
    fn all(&self, uid: u32) -> Vec<Client<UnixStream>> {
        std::iter::from_fn(|| self.served(uid)).take(100).collect()
    }
}

/// Closes a connection, and waits until the server has closed it too.
fn leave(client: &Client<UnixStream>) {
    let mut stream = client.stream();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn nobody_keeps_the_others_out() {
    for serve in [with_threads as Serve, with_tasks] {
        let server = Server::start(serve, "901=who;902=who;903=who");
        // Below its limit a user can connect any number of times.
        for _ in 0..10 {
            leave(&server.served(901).unwrap());
        }
        let mut greedy = server.all(901);
        assert_eq!(greedy.len(), LIMITS.of_one);
        // A silent connection is admitted as well.
        let mut silent = server.connect(902);
        let other = server.served(902).unwrap();
        assert!(server.served(902).is_none() && server.served(903).is_none());
        let operators = server.all(PID_1);
        assert_eq!(operators.len(), LIMITS.for_operators);
        // No connection is dropped for another, and a closed one makes room.
        for client in greedy.iter_mut().chain([&mut silent]) {
            client.call("who", Map::new()).unwrap();
        }
        leave(&greedy[0]);
        assert!(server.served(901).is_none() && server.served(903).is_none());
        let operator = server.served(PID_1).unwrap();
        for client in operators.iter().chain([&operator]) {
            leave(client);
        }
        for client in [&server.served(903).unwrap(), &other, &silent] {
            leave(client);
        }
        assert_eq!(server.all(PID_1).len(), LIMITS.all - (LIMITS.of_one - 1));
    }
}

#[test]
fn only_callers_and_only_what_they_may() {
    for serve in [with_threads as Serve, with_tasks] {
        let server = Server::start(serve, "901=who");
        let mut known = server.served(901).unwrap();
        let denied = known.call("change", Map::new()).unwrap_err();
        let CallError::Failure(denied) = denied else { panic!("{denied}") };
        assert_eq!(denied.code, FailureCode::Denied);
        // An unknown user is disconnected without an answer.
        for _ in 0..2 * LIMITS.all {
            assert!(server.served(902).is_none());
        }
        let _strangers: Vec<_> = (0..2 * LIMITS.all).map(|_| server.connect(902)).collect();
        assert!(server.served(901).is_some() && server.served(PID_1).is_some());
    }
}

/// An operator's request counts as PID 1's, whichever unit relays it, and only units that may impersonate
/// operators are believed. So an operator never gets the rights of the relaying unit, such as having a key
/// certified for it.
#[test]
fn whose_word_counts() {
    let key = By::Operator(octet_control::PublicKey::new([9; 32]));
    for serve in [with_threads as Serve, with_tasks] {
        let server = Server::start(serve, "907=who,*;908=who");
        for (uid, said, asker) in [
            (907, Some(key), json!([PID_1, "who", key])),
            (907, Some(By::Port), json!([907, "who", null])),
            (907, None, json!([907, "who", null])),
            (908, Some(key), json!([908, "who", null])),
            (PID_1, Some(By::Port), json!([PID_1, "who", By::Port])),
        ] {
            let client = server.connect(uid);
            let mut client = match said {
                Some(by) => client.on_behalf_of(by),
                None => client,
            };
            assert_eq!(client.call("who", Map::new()).unwrap(), asker, "{uid} {said:?}");
        }
        let mut brings = server.connect(907).on_behalf_of(key);
        assert!(brings.call("nothing", Map::new()).is_err());
        assert!(brings.call("describe", Map::new()).is_ok());
    }
}
