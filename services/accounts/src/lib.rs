//! `accounts` signs receipts for the bytes that neighbours have carried for this node and of objects that they gave it, takes
//! theirs for what this node has carried and given, and limits those who do not sign (docs/accounts.md).
//!
//! It has no socket in any network: `forward` carries its messages; `forward` and `cache` count, and stop.
//!
//! One thread does a round every so often: it asks `forward` what was carried, writes what is due, and only then sends it.
//! Another asks `cache` what was given, and limits it. Others serve the verbs, and follow the certificate of its key.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod book_file;
mod earnings;
mod ledger;
mod meter;
mod round;
pub mod settings;
mod verbs;

pub use ledger::LedgerOfReceipts;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use octet_node::control::{PublicKey, SOCKETS};
use octet_node::key::PrivateKey;
use octet_node::serve::threads;
use octet_node::settings::Which;
use octet_node::sub_key::{self, KeyUpdate};
use octet_node::{Callers, notify_ready, say};
use octet_receipts::ServiceKind;

use crate::book_file::BookFile;
use crate::earnings::Earnings;
use crate::ledger::LedgerUnit;
use crate::meter::TrafficMeter;
use crate::round::RoundError;
use crate::settings::Settings;

/// The interval of rounds, in which counters are read. Two rounds and a receipt on its way fit
/// into a window.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The stack size of the thread that does rounds, in bytes.
const STACK: usize = 256 << 10;

/// The configuration of this service.
pub struct AccountsConfig {
    /// The settings in force.
    pub settings: Settings,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The data folder of this unit.
    pub folder: PathBuf,
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
    /// The interval of rounds.
    pub interval: Duration,
}

/// What the threads of this unit share.
pub struct SharedAccounts {
    book: Mutex<BookFile>,
    /// This unit's key, and former ones of this run: claims are signed with the key that a receipt names.
    keys: Mutex<BTreeMap<PublicKey, Arc<PrivateKey>>>,
    earnings: Mutex<Earnings>,
    state: Mutex<State>,
    /// Signals other settings, and a certified key.
    changed: Condvar,
    /// The folder of the units' sockets.
    sockets: PathBuf,
    /// The origin of the clock, which is never set.
    start: Instant,
}

#[derive(Debug, Default)]
struct State {
    settings: Settings,
    /// Why rounds of a kind do not succeed.
    problems: BTreeMap<ServiceKind, String>,
    /// By neighbour, the window that was measured.
    windows: BTreeMap<PublicKey, u64>,
    /// Counts changes, for the threads that wait for them.
    turn: u64,
}

impl SharedAccounts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, BookFile> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<PublicKey, Arc<PrivateKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn earnings(&self) -> MutexGuard<'_, Earnings> {
        self.earnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    fn settings_and_turn(&self) -> (Settings, u64) {
        let state = self.state();
        (state.settings.clone(), state.turn)
    }

    /// The window that `forward` has measured for the link to a neighbour, in bytes.
    fn window(&self, node: &PublicKey) -> u64 {
        self.state().windows.get(node).copied().unwrap_or_default()
    }

    fn set_windows(&self, windows: BTreeMap<PublicKey, u64>) {
        self.state().windows = windows;
    }

    /// Logs why rounds of a kind do not succeed, once for each reason.
    fn set_problem(&self, kind: ServiceKind, problem: Option<RoundError>) {
        let mut state = self.state();
        let Some(problem) = problem.map(|error| error.to_string()) else {
            state.problems.remove(&kind);
            return;
        };
        if state.problems.get(&kind) != Some(&problem) {
            say!("{problem}");
            state.problems.insert(kind, problem);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.turn = state.turn.wrapping_add(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the time of the next round; without `[accounts]` until something changes since `turn`.
    fn wait(&self, turn: u64, interval: Duration) {
        let state = self.state();
        let same = |state: &mut State| state.turn == turn;
        if state.settings.accounts.is_some() || !state.problems.is_empty() {
            drop(self.changed.wait_timeout_while(state, interval, same));
        } else {
            drop(self.changed.wait_while(state, same));
        }
    }
}

/// Runs the service, with what PID 1 passes to it.
pub fn main() -> ExitCode {
    octet_node::run(|mut given| {
        let sockets = PathBuf::from(SOCKETS);
        let settings = Settings::read(&sockets, Which::InForce).map_err(io::Error::other)?;
        let folder = given.state.take();
        let folder = folder.ok_or_else(|| io::Error::other("PID 1 has given no data folder"))?;
        let config = AccountsConfig {
            settings,
            sockets,
            folder,
            control: given.socket("control")?,
            callers: given.callers,
            interval: INTERVAL,
        };
        run(config, notify_ready)
    })
}

/// Serves forever. `ready` is called once the socket accepts calls.
///
/// # Errors
/// The kernel refuses a thread or the socket, or the data folder cannot be read.
pub fn run(config: AccountsConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let AccountsConfig { settings, sockets, folder, control, callers, interval } = config;
    let shared = Arc::new(SharedAccounts {
        book: Mutex::new(BookFile::open(&folder)?),
        keys: Mutex::default(),
        earnings: Mutex::default(),
        state: Mutex::new(State { settings, ..State::default() }),
        changed: Condvar::new(),
        sockets: sockets.clone(),
        start: Instant::now(),
    });
    let keyed = Arc::clone(&shared);
    sub_key::keep(Some(folder), sockets.join("identity.sock"), move |update| match update {
        KeyUpdate::Certified(key) => {
            keyed.keys().insert(key.key.public(), Arc::clone(&key.key));
            keyed.book().set_identity(*key);
            keyed.change(|_| {});
        }
        KeyUpdate::NotCertified(why) => say!("this service's key is not certified: {why}"),
    })?;
    let [forward, cache] = ServiceKind::ALL.map(|kind| TrafficMeter::new(kind, &sockets));
    let ledger = LedgerUnit::new(&sockets);
    let working = Arc::clone(&shared);
    let work = move || round::run(&working, forward, ledger, interval);
    Builder::new().name("rounds".into()).stack_size(STACK).spawn(work)?;
    let working = Arc::clone(&shared);
    let work = move || round::run_objects(&working, cache, interval);
    Builder::new().name("objects".into()).stack_size(STACK).spawn(work)?;
    ready()?;
    let Err(error) = threads::serve(&control, &callers, verbs::LIMITS, verbs::verbs(), shared);
    Err(error)
}
