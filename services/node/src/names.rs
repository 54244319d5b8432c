//! Registers a service's DNS names with `lan` (`docs/names.md`).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use octet_control::{CallError, Client, Failure, FailureCode};
use serde_json::{Map, json};

/// The verb of `lan` that replaces the calling unit's [`ServiceNames`]. It returns an item once they are active; they
/// stay active as long as the connection exists.
pub const REGISTER: &str = "register";

/// Names with their addresses: `<unit>.octet`, and names below it.
pub type ServiceNames = BTreeMap<String, Vec<IpAddr>>;

/// The thread's stack size, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `lan` is called again: about the time of its restart.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const MAX: Duration = Duration::from_secs(5);

/// Parses a JSON object with a list of addresses for each name.
pub fn parse(text: &str) -> Result<ServiceNames, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let help = r#"give an object as {"cache.octet": ["10.20.3.2"]}"#;
        Failure::new(FailureCode::BadArgument, format!("these are no names: {error}"), help)
    })
}

/// The state of the registration.
#[derive(Debug)]
pub enum NamesUpdate {
    /// `lan` resolves the names.
    Told,
    /// The registration failed for this reason, and is retried. Earlier names stay active unless `lan` has
    /// ended.
    Not(String),
}

/// A registration, for as long as it exists.
#[derive(Debug)]
#[must_use = "without it the names are taken back"]
pub struct NameRegistration(Arc<Shared>);

/// Registers `names` with `lan`, which listens at `socket`, and reports the state to `tell`. The service's unit
/// file needs `lan = ["register"]` in `talks`.
///
/// # Errors
/// No thread can be started.
pub fn register(
    socket: PathBuf,
    names: ServiceNames,
    tell: impl FnMut(NamesUpdate) + Send + 'static,
) -> io::Result<NameRegistration> {
    let shared = Arc::new(Shared::default());
    shared.lock().names = Some(names);
    let keeper = Keeper { shared: Arc::clone(&shared), socket, tell, stands: None };
    Builder::new().name("names".into()).stack_size(STACK).spawn(move || keeper.run())?;
    Ok(NameRegistration(shared))
}

impl NameRegistration {
    /// Replaces the names. The previous names stay active until the new ones are.
    pub fn set(&self, names: ServiceNames) {
        self.0.set(Some(names));
    }
}

impl Drop for NameRegistration {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>, Condvar);

#[derive(Debug, Default)]
struct State {
    /// The wanted names; `None` once the registration is dropped.
    names: Option<ServiceNames>,
    /// Increases with each change of the names.
    round: u64,
    /// The connection on which an answer is awaited.
    awaited: Option<UnixStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, names: Option<ServiceNames>) {
        let mut state = self.lock();
        state.names = names;
        state.round += 1;
        // The waiting thread sees the end of the stream; for `lan` the connection exists until it is closed.
        if let Some(stream) = state.awaited.take() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.1.notify_all();
    }
}

/// The thread that calls `lan`, so that the service does not block.
struct Keeper<T> {
    shared: Arc<Shared>,
    socket: PathBuf,
    tell: T,
    /// The connection of the names before the change.
    stands: Option<Client<UnixStream>>,
}

impl<T: FnMut(NamesUpdate)> Keeper<T> {
    fn run(mut self) {
        let mut pause = RETRY_DELAY;
        loop {
            let (names, round) = {
                let state = self.shared.lock();
                let Some(names) = &state.names else { return };
                (json!(names).to_string(), state.round)
            };
            let mut told = false;
            let ended = self.ask(names, round, &mut told);
            if told {
                pause = RETRY_DELAY;
            }
            if self.shared.lock().round != round {
                continue;
            }
            (self.tell)(NamesUpdate::Not(ended.err().unwrap_or(CallError::Closed).to_string()));
            let same = |state: &mut State| state.round == round;
            drop(self.shared.1.wait_timeout_while(self.shared.lock(), pause, same));
            pause = (pause * 2).min(MAX);
        }
    }

    /// Keeps the names registered until `lan` ends or they change. Sets `told` once they are active.
    fn ask(&mut self, names: String, round: u64, told: &mut bool) -> Result<(), CallError> {
        let mut client = Client::connect(&self.socket)?;
        {
            let mut state = self.shared.lock();
            if state.round != round {
                return Ok(());
            }
            state.awaited = Some(client.stream().try_clone()?);
        }
        let args = Map::from_iter([("names".to_owned(), names.into())]);
        let ended = client.call_each(REGISTER, args, |_| {
            *told = true;
            self.stands = None;
            (self.tell)(NamesUpdate::Told);
            true
        });
        let mut state = self.shared.lock();
        state.awaited = None;
        if state.round != round && *told {
            self.stands = Some(client);
        }
        ended.map(drop)
    }
}

#[cfg(test)]
mod tests;
