//! A server with a thread per client: for services that block while they answer, on a client's file, a disk or
//! another unit. Connections are limited.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

#[cfg(feature = "metrics")]
use octet_control::{ColumnKind, FailureCode, Permission};
use octet_control::{Failure, Request, Verb};
use serde_json::{Value, json};

use crate::callers::{Callers, peer_uid};
use crate::peer::Peer;
use crate::settings;

use super::places::ConnectionLimit;
pub use super::places::ConnectionLimits;
use super::verbs::{self, VerbArgs, nothing};

/// The stack size of a client's thread, in bytes; unused pages take no memory.
const STACK: usize = 512 << 10;

/// A request of a client.
pub type Call<'a> = verbs::Call<'a, Peer>;

/// The handler of a verb of a service with the state `S`.
type Answer<S> = Box<dyn Fn(&S, &mut Call<'_>) -> Result<Value, Failure> + Send + Sync>;

/// All verbs of a service with the state `S`.
pub type Verbs<S> = verbs::Verbs<S, Answer<S>>;

impl<S: 'static> Verbs<S> {
    /// Adds `verb`, which takes `takes` and is handled by `answer`.
    #[must_use]
    pub fn with<T: 'static>(
        self,
        verb: Verb,
        takes: VerbArgs<T>,
        answer: impl Fn(&S, &mut Call<'_>, T) -> Result<Value, Failure> + Send + Sync + 'static,
    ) -> Self {
        let VerbArgs { args, read } = takes;
        let answer: Answer<S> = Box::new(move |state, call| {
            let taken = read(&call.args)?;
            answer(state, call, taken)
        });
        self.add(verb, args, answer)
    }

    /// Adds the verbs that `config` calls: whether pending settings are accepted, and to reload the active
    /// ones.
    #[must_use]
    pub fn with_settings(
        self,
        check: impl Fn(&S) -> Result<(), Failure> + Send + Sync + 'static,
        apply: impl Fn(&S) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        let [of_check, of_apply] = settings::verbs();
        self.with(of_check, nothing(), move |state, _, ()| check(state).map(|()| Value::Null)).with(
            of_apply,
            nothing(),
            move |state, _, ()| apply(state).map(|()| Value::Null),
        )
    }

    /// Adds `metrics`, which returns to operators the metrics that are also served over HTTP. `read` gives
    /// their text, or `None` if they cannot be read.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics(self, read: impl Fn(&S) -> Option<String> + Send + Sync + 'static) -> Self {
        let verb = Verb::new(
            "metrics",
            Permission::Read,
            "Prints the metrics in the Prometheus text format",
        );
        self.with(verb.columns(ColumnKind::Lines, &["text"]), nothing(), move |state, _, ()| {
            let text = read(state).ok_or_else(|| {
                let message = "what is counted cannot be read";
                Failure::new(FailureCode::Failed, message, "the log says why")
            })?;
            Ok(json!({ "text": text }))
        })
    }

    /// The answer to `request` of `peer`, a process of user `uid`.
    ///
    /// # Errors
    /// The verb is unknown, its arguments are invalid, or it was refused or failed; the failure is the
    /// answer.
    pub fn answer(
        &self,
        state: &S,
        peer: &mut Peer,
        uid: u32,
        request: Request,
    ) -> Result<Value, Failure> {
        let (mut call, answer) = self.call(peer, uid, request)?;
        answer.map_or_else(|| Ok(json!(self.list(state))), |answer| answer(state, &mut call))
    }
}

/// Serves `listener` forever: `callers` may call their permitted `verbs`, which get `state`. Users without any
/// permitted verb are disconnected.
pub fn serve<S: Send + Sync + 'static>(
    listener: &UnixListener,
    callers: &Callers,
    limits: ConnectionLimits,
    verbs: Verbs<S>,
    state: S,
) -> io::Result<Infallible> {
    let answers = (callers.clone(), verbs, state);
    serve_users(listener, limits, |stream| peer_uid(stream), answers)
}

/// The same, with another source of a connection's user than the kernel.
pub(super) fn serve_users<S: Send + Sync + 'static>(
    listener: &UnixListener,
    limits: ConnectionLimits,
    user: impl Fn(&UnixStream) -> io::Result<u32>,
    answers: (Callers, Verbs<S>, S),
) -> io::Result<Infallible> {
    let (places, shared) = (ConnectionLimit::new(limits), Arc::new(answers));
    loop {
        let (stream, _) = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        // Unknown users, and those above a limit, are disconnected.
        let Ok(uid) = user(&stream) else { continue };
        let Some(place) = places.admit(&shared.0, uid) else { continue };
        let shared = shared.clone();
        let serve = move || {
            let (callers, verbs, state) = &*shared;
            let mut peer = Peer::new(stream);
            // Returned before the connection closes, so that a client that sees it closed can connect again.
            let _place = place;
            while let Ok(Some(mut request)) = peer.next_request() {
                let id = request.id;
                let admitted = callers.admit(uid, &mut request);
                let answer = admitted.and_then(|uid| verbs.answer(state, &mut peer, uid, request));
                if peer.end(id, answer).is_err() {
                    break;
                }
            }
        };
        // If no thread can be started, the client is disconnected and may retry.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(serve);
    }
}
