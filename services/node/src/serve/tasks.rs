//! A server with a task per client, all on one thread: for services that answer with futures. It has the same
//! limits as [`threads`](super::threads).

mod peer;

pub use peer::Peer;

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use octet_control::{Failure, Request, Verb};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::sleep;

use crate::callers::{Callers, peer_uid};
use crate::say;
use crate::settings;

use super::places::ConnectionLimit;
pub use super::places::ConnectionLimits;
use super::verbs::{self, VerbArgs, nothing};

/// The number of connections that are accepted or refused before other tasks run.
const AT_ONCE: usize = 16;

/// The pause after the kernel could not accept a connection: closing clients free descriptors.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// A request of a client.
pub type Call<'a> = verbs::Call<'a, Peer>;

/// The future of a verb's answer.
type Answered<'a> = Pin<Box<dyn Future<Output = Result<Value, Failure>> + 'a>>;

/// The handler of a verb of a service with the state `S`.
type Answer<S> = Box<dyn for<'a> Fn(&'a S, &'a mut Call<'_>) -> Answered<'a>>;

/// All verbs of a service with the state `S`.
pub type Verbs<S> = verbs::Verbs<S, Answer<S>>;

impl<S: 'static> Verbs<S> {
    /// Adds `verb`, which takes `takes` and is handled by `answer`.
    #[must_use]
    pub fn with<T: 'static>(
        self,
        verb: Verb,
        takes: VerbArgs<T>,
        answer: impl AsyncFn(&S, &mut Call<'_>, T) -> Result<Value, Failure> + 'static,
    ) -> Self {
        let VerbArgs { args, read } = takes;
        let answer = Rc::new(answer);
        let answer: Answer<S> = Box::new(move |state, call| {
            let (taken, answer) = (read(&call.args), Rc::clone(&answer));
            Box::pin(async move { answer(state, call, taken?).await })
        });
        self.add(verb, args, answer)
    }

    /// Adds the verbs that `config` calls: whether pending settings are accepted, and to reload the active
    /// ones.
    #[must_use]
    pub fn with_settings(
        self,
        check: impl AsyncFn(&S) -> Result<(), Failure> + 'static,
        apply: impl AsyncFn(&S) -> Result<(), Failure> + 'static,
    ) -> Self {
        let [of_check, of_apply] = settings::verbs();
        self.with(of_check, nothing(), async move |state, _, ()| {
            check(state).await.map(|()| Value::Null)
        })
        .with(of_apply, nothing(), async move |state, _, ()| {
            apply(state).await.map(|()| Value::Null)
        })
    }

    /// The answer to `request` of `peer`, a process of user `uid`.
    async fn answer(
        &self,
        state: &S,
        peer: &mut Peer,
        uid: u32,
        request: Request,
    ) -> Result<Value, Failure> {
        let (mut call, answer) = self.call(peer, uid, request)?;
        match answer {
            Some(answer) => answer(state, &mut call).await,
            None => Ok(json!(self.list(state))),
        }
    }
}

/// Serves `listener` as a task of this thread: `callers` may call their permitted `verbs`, which get `state`.
/// Users without any permitted verb are disconnected.
///
/// # Errors
/// The kernel cannot poll the listener.
pub fn serve<S: 'static>(
    listener: StdListener,
    callers: Callers,
    limits: ConnectionLimits,
    verbs: Verbs<S>,
    state: Rc<S>,
) -> io::Result<JoinHandle<Infallible>> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let answers = Rc::new((callers, verbs, state));
    Ok(spawn_local(serve_users(listener, limits, |stream| peer_uid(stream), answers)))
}

/// The same, with another source of a connection's user than the kernel.
pub(super) async fn serve_users<S: 'static>(
    listener: UnixListener,
    limits: ConnectionLimits,
    user: impl Fn(&UnixStream) -> io::Result<u32>,
    answers: Rc<(Callers, Verbs<S>, Rc<S>)>,
) -> Infallible {
    let places = ConnectionLimit::new(limits);
    loop {
        for _ in 0..AT_ONCE {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    say!("cannot accept a connection: {error}");
                    sleep(RETRY_DELAY).await;
                    continue;
                }
            };
            // Unknown users, and those above a limit, are disconnected.
            let Ok(uid) = user(&stream) else { continue };
            let Some(place) = places.admit(&answers.0, uid) else { continue };
            let answers = Rc::clone(&answers);
            spawn_local(async move {
                let (callers, verbs, state) = &*answers;
                let mut peer = Peer::new(stream);
                // Returned before the connection closes, so that a client that sees it closed can connect
                // again.
                let _place = place;
                while let Ok(Some(mut request)) = peer.next_request().await {
                    let id = request.id;
                    let answer = match callers.admit(uid, &mut request) {
                        Ok(uid) => verbs.answer(state, &mut peer, uid, request).await,
                        Err(failure) => Err(failure),
                    };
                    if peer.end(id, answer).await.is_err() {
                        break;
                    }
                }
            });
        }
        yield_now().await;
    }
}

#[cfg(test)]
mod tests;
