//! A service's socket with a thread for each client: for services that wait while they answer, be it
//! for a client's file, a disk or another unit. Few clients, and nobody keeps the others out.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use crate::callers::{Callers, peer_uid};
use crate::peer::Peer;

pub use super::places::Limits;
use super::places::Places;
use super::verbs::Verbs;

/// Room for the stack of one client's thread, in bytes; what is not used takes no memory.
const STACK: usize = 512 << 10;

/// Serves whoever connects to `listener`, for ever: `callers` are answered by those of `verbs`, with `state`, that they
/// may ask for. Who is not listed at all is turned away. `pid_1` is the user that asks for operators.
///
/// # Errors
/// The socket is gone.
pub fn serve<S: Send + Sync + 'static>(
    listener: &UnixListener,
    callers: &Callers,
    limits: Limits,
    pid_1: u32,
    verbs: Verbs<S>,
    state: S,
) -> io::Result<Infallible> {
    let answers = (callers.clone(), verbs, state);
    serve_users(listener, limits, pid_1, |stream| peer_uid(stream), answers)
}

/// The same, with another word than the kernel's on whose a connection is.
fn serve_users<S: Send + Sync + 'static>(
    listener: &UnixListener,
    limits: Limits,
    pid_1: u32,
    user: impl Fn(&UnixStream) -> io::Result<u32>,
    answers: (Callers, Verbs<S>, S),
) -> io::Result<Infallible> {
    let (places, shared) = (Places::new(limits), Arc::new(answers));
    loop {
        let (stream, _) = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        // Whom the kernel does not name is turned away, as is who finds no room.
        let Ok(uid) = user(&stream) else { continue };
        if !shared.0.knows(uid) {
            continue;
        }
        let Some(place) = places.take(uid, uid == pid_1) else { continue };
        let shared = shared.clone();
        let serve = move || {
            let (callers, verbs, state) = &*shared;
            let mut peer = Peer::new(stream);
            // Given back before the connection ends: who sees that end finds the room.
            let _place = place;
            while let Ok(Some(request)) = peer.next_request() {
                let id = request.id;
                let allowed = callers.check(uid, &request.verb);
                let answer = allowed.and_then(|()| verbs.answer(state, &mut peer, uid, request));
                if peer.end(id, answer).is_err() {
                    break;
                }
            }
        };
        // Without room for a thread the client is turned away, and may try again.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(serve);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callers::PID_1;
    use crate::serve::verbs::nothing;
    use octet_control::{CallError, Capability, Client, FailureCode, Verb};
    use serde_json::{Map, json};
    use std::io::Read;
    use std::net::Shutdown;
    use std::path::PathBuf;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;
    use tempfile::TempDir;

    /// Nothing here takes that long, however slow the machine; then a test fails instead of hanging.
    const PATIENCE: Duration = Duration::from_secs(60);

    const LIMITS: Limits = Limits { all: 7, for_operators: 2, of_one: 3 };

    /// A service, for as long as the test runs, that tells every user who it is.
    struct Server {
        _folder: TempDir,
        socket: PathBuf,
        /// Whose the next connection is.
        users: Sender<u32>,
    }

    impl Server {
        fn start(callers: &str) -> Self {
            let folder = TempDir::new().unwrap();
            let socket = folder.path().join("socket");
            let listener = UnixListener::bind(&socket).unwrap();
            let callers = Callers::parse(callers).unwrap();
            let (users, next) = channel();
            std::thread::spawn(move || {
                let user = |_: &UnixStream| next.recv().map_err(io::Error::other);
                let who = Verb::new("who", Capability::Read, "");
                let verbs = Verbs::default()
                    .with(who, nothing(), |(), call, ()| Ok(json!([call.uid, call.verb])));
                serve_users(&listener, LIMITS, PID_1, user, (callers, verbs, ()))
            });
            Self { _folder: folder, socket, users }
        }

        fn connect(&self, uid: u32) -> Client<UnixStream> {
            self.users.send(uid).unwrap();
            let client = Client::connect(&self.socket).unwrap();
            client.stream().set_read_timeout(Some(PATIENCE)).unwrap();
            client
        }

        /// A connection of `uid` that is served; `None` if it is turned away.
        fn served(&self, uid: u32) -> Option<Client<UnixStream>> {
            let mut client = self.connect(uid);
            match client.call("who", Map::new()) {
                Ok(answer) => {
                    assert_eq!(answer, json!([uid, "who"]));
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

    /// Ends a connection, and sees that the server has ended it too.
    fn leave(client: &Client<UnixStream>) {
        let mut stream = client.stream();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn nobody_keeps_the_others_out() {
        let server = Server::start("901=who;902=who;903=who");
        // Below its bound a user is served, as often as it comes.
        for _ in 0..10 {
            leave(&server.served(901).unwrap());
        }
        let mut greedy = server.all(901);
        assert_eq!(greedy.len(), LIMITS.of_one);
        // One that says nothing has a place as well.
        let mut silent = server.connect(902);
        let other = server.served(902).unwrap();
        assert!(server.served(902).is_none() && server.served(903).is_none());
        let operators = server.all(PID_1);
        assert_eq!(operators.len(), LIMITS.for_operators);
        // Nobody is thrown out for another, and who leaves makes room.
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

    #[test]
    fn only_callers_and_only_what_they_may() {
        let server = Server::start("901=who");
        let mut known = server.served(901).unwrap();
        let denied = known.call("change", Map::new()).unwrap_err();
        let CallError::Failure(denied) = denied else { panic!("{denied}") };
        assert_eq!(denied.code, FailureCode::Denied);
        // A stranger has no place, and is told nothing.
        for _ in 0..2 * LIMITS.all {
            assert!(server.served(902).is_none());
        }
        let _strangers: Vec<_> = (0..2 * LIMITS.all).map(|_| server.connect(902)).collect();
        assert!(server.served(901).is_some() && server.served(PID_1).is_some());
    }
}
