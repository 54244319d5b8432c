//! How a service has `lan` tell its names (`docs/names.md`).

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

/// The verb of `lan` that takes [`Names`] of the unit that asks, instead of those that it has. It answers
/// with an item once they count, and they do for as long as the connection stands.
pub const REGISTER: &str = "register";

/// Names, each with its addresses: `<unit>.octet`, and what is below that.
pub type ServiceNames = BTreeMap<String, Vec<IpAddr>>;

/// Room for the thread's stack, in bytes.
const STACK: usize = 128 << 10;

/// The pause before `lan` is asked again: about as long as it takes to be started again.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const MAX: Duration = Duration::from_secs(5);

/// Reads names as they are told: a JSON object with a list of addresses for each.
pub fn parse(text: &str) -> Result<ServiceNames, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let help = r#"give an object as {"cache.octet": ["10.20.3.2"]}"#;
        Failure::new(FailureCode::BadArgument, format!("these are no names: {error}"), help)
    })
}

/// What is known of the names.
#[derive(Debug)]
pub enum NamesUpdate {
    /// `lan` tells them to whoever asks.
    Told,
    /// It does not, for this reason; another try follows. Of those that it told before it still does, unless
    /// it has ended.
    Not(String),
}

/// Names that are told for as long as this is there.
#[derive(Debug)]
#[must_use = "without it the names are taken back"]
pub struct NameRegistration(Arc<Shared>);

/// Has `lan`, which listens at `socket`, tell `names`, and says to `tell` how that goes. The unit of the
/// service names `lan = ["register"]` in `talks`.
///
/// # Errors
/// There are no threads to be had.
pub fn keep(
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
    /// Tells `names` instead. Those from before are told until these are.
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
    /// What is to be told; nothing once nobody wants that any more.
    names: Option<ServiceNames>,
    /// Grows with each change of them.
    round: u64,
    /// The connection that an answer is awaited on.
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
        // Whoever waits sees an end; `lan` does not: to it the connection stands until it is closed.
        if let Some(stream) = state.awaited.take() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.1.notify_all();
    }
}

/// The thread that asks `lan`, so that nobody else has to wait for it.
struct Keeper<T> {
    shared: Arc<Shared>,
    socket: PathBuf,
    tell: T,
    /// The connection that names from before a change hang on.
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

    /// Tells `names` until `lan` ends that, or there are others. `told` is whether it ever came to that.
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
