//! `face` has the figures of the box for people: what each node's state and load are, and how they
//! were over 24 hours (docs/face.md). It shows them on an OLED display, if the settings name one.
//!
//! One thread serves the verbs. Others block: on `cluster`, on `netd`, until the key is known on
//! `identity`, and on the display.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod display;
pub mod figures;
pub mod history;
mod own_node;
mod rate;
mod screen;
pub mod settings;
mod verbs;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use octet_node::control::{SOCKETS, STATUS};
use octet_node::serve::tasks;
use octet_node::settings::Which;
use octet_node::{Callers, KeptClient, notify_ready, say};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::figures::Figures;
use crate::own_node::OwnNode;
use crate::settings::Settings;

/// The interval at which `cluster` is asked.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// `accounts` is asked once in so many intervals.
const EARNINGS_TURNS: u64 = 12;

/// The timeout of `cluster`, which itself waits 5 s for `netd`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The stack size of the thread that asks, in bytes.
const STACK: usize = 256 << 10;

/// The configuration of this service.
pub struct FaceConfig {
    /// The settings in force.
    pub settings: Settings,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The folder of the I2C buses.
    pub devices: PathBuf,
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
    /// The interval at which `cluster` is asked.
    pub interval: Duration,
}

/// What the threads of this unit share.
pub struct Shared {
    figures: Mutex<Figures>,
    facts: Mutex<Facts>,
    /// Signals newer facts or figures.
    news: watch::Sender<()>,
    changed: Condvar,
    /// The origin of the figures' clock, which is never set.
    start: Instant,
}

/// What changes rarely.
#[derive(Debug, Default)]
struct Facts {
    node: OwnNode,
    settings: Settings,
    /// Where the display is, or why it shows nothing.
    display: String,
    /// Counts what is new, for the thread of the display.
    turn: u64,
}

impl Shared {
    fn new(settings: Settings) -> Self {
        Self {
            figures: Mutex::default(),
            facts: Mutex::new(Facts { settings, ..Facts::default() }),
            news: watch::Sender::new(()),
            changed: Condvar::new(),
            start: Instant::now(),
        }
    }

    /// Calls `read` with the figures and the time now.
    pub fn with<T>(&self, read: impl FnOnce(&mut Figures, Duration) -> T) -> T {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        read(&mut figures, self.start.elapsed())
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the start of this unit.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn node(&self) -> OwnNode {
        self.facts().node.clone()
    }

    pub fn settings(&self) -> Settings {
        self.facts().settings.clone()
    }

    /// Where the display is, or why it shows nothing.
    pub fn display_state(&self) -> String {
        self.facts().display.clone()
    }

    pub fn set_display_state(&self, state: String) {
        self.facts().display = state;
    }

    pub fn change_node(&self, change: impl FnOnce(&mut OwnNode)) {
        change(&mut self.facts().node);
        self.signal();
    }

    pub fn change_settings(&self, settings: Settings) {
        self.facts().settings = settings;
        self.signal();
    }

    /// Signals newer figures or facts.
    pub fn signal(&self) {
        let mut facts = self.facts();
        facts.turn = facts.turn.wrapping_add(1);
        drop(facts);
        self.changed.notify_all();
        self.news.send_replace(());
    }

    /// Waits until something is newer, `longest` at most.
    pub fn wait_for_news(&self, longest: Duration) {
        let facts = self.facts();
        let turn = facts.turn;
        let same = |facts: &mut Facts| facts.turn == turn;
        drop(self.changed.wait_timeout_while(facts, longest, same));
    }

    /// Waits until the settings are others than `settings`.
    pub fn wait_for_settings(&self, settings: &Settings) {
        let same = |facts: &mut Facts| facts.settings == *settings;
        drop(self.changed.wait_while(self.facts(), same));
    }
}

/// Runs the service, with what PID 1 passes to it.
pub fn main() -> ExitCode {
    octet_node::run(|mut given| {
        let sockets = PathBuf::from(SOCKETS);
        let settings = Settings::read(&sockets, Which::InForce).map_err(io::Error::other)?;
        let config = FaceConfig {
            settings,
            sockets,
            devices: "/dev".into(),
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
/// The kernel refuses a thread or the socket.
pub fn run(config: FaceConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let FaceConfig { settings, sockets, devices, control, callers, interval } = config;
    let shared = Arc::new(Shared::new(settings));
    own_node::start(&sockets, &shared)?;
    display::start(devices, Arc::clone(&shared))?;
    let cluster = KeptClient::new(sockets.join("cluster.sock"), TIMEOUT);
    let accounts = KeptClient::new(sockets.join("accounts.sock"), TIMEOUT);
    let asked = Arc::clone(&shared);
    let ask = move || ask_units((cluster, accounts), interval, &asked);
    Builder::new().name("ask".into()).stack_size(STACK).spawn(ask)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let state = Rc::new(verbs::FaceState { news: shared.news.subscribe(), shared, sockets });
        let task = tasks::serve(control, callers, verbs::LIMITS, verbs::verbs(), state)?;
        ready()?;
        match task.await {
            Ok(never) => match never {},
            Err(error) => Err(io::Error::other(error)),
        }
    })
}

/// Asks `cluster` and `accounts` forever, and signals each answer of `cluster` and each missing one.
fn ask_units(
    (mut cluster, mut accounts): (KeptClient, KeptClient),
    interval: Duration,
    shared: &Shared,
) {
    let mut logged = String::new();
    for turn in 0u64.. {
        if turn % EARNINGS_TURNS == 0 {
            // An image may lack `accounts`.
            let answer = accounts.call("earnings").ok();
            shared.with(|figures, _| figures.earn(answer.as_ref()));
        }
        let answer = cluster.call(STATUS);
        let problem = shared.with(|figures, now| match &answer {
            Ok(status) => figures.hear(status, now).err(),
            Err(error) => {
                let problem = format!("`cluster` does not answer: {error}");
                figures.lose(problem.clone());
                Some(problem)
            }
        });
        let problem = problem.unwrap_or_default();
        if problem != logged {
            if !problem.is_empty() {
                say!("{problem}");
            }
            logged = problem;
        }
        shared.signal();
        sleep(interval);
    }
}
