//! `face` has the figures of the box for people: what each node's state and load are, and how they
//! were over 24 hours (docs/face.md). It may call one verb of one unit, `status` of `cluster`.
//!
//! A thread asks `cluster`; another one serves the verbs.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod figures;
pub mod history;
mod rate;
mod verbs;

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use octet_node::control::{CallError, Client, SOCKETS, STATUS};
use octet_node::serve::tasks;
use octet_node::{Callers, notify_ready, say};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::figures::Figures;

/// The interval at which `cluster` is asked.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The timeout of `cluster`, which itself waits 5 s for `netd`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The stack size of the thread that asks, in bytes.
const STACK: usize = 256 << 10;

/// The configuration of this service.
pub struct FaceConfig {
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
    /// The interval at which `cluster` is asked.
    pub interval: Duration,
}

/// The figures, which one thread changes and another one shows.
pub struct Shared {
    figures: Mutex<Figures>,
    /// The origin of their clock, which is never set.
    start: Instant,
}

impl Shared {
    /// Calls `read` with the figures and the time now.
    pub fn with<T>(&self, read: impl FnOnce(&mut Figures, Duration) -> T) -> T {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        read(&mut figures, self.start.elapsed())
    }
}

/// Runs the service, with what PID 1 passes to it.
pub fn main() -> ExitCode {
    octet_node::run(|mut given| {
        let config = FaceConfig {
            sockets: SOCKETS.into(),
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
    let shared = Arc::new(Shared { figures: Mutex::default(), start: Instant::now() });
    let (sender, news) = watch::channel(());
    let (asked, socket) = (Arc::clone(&shared), config.sockets.join("cluster.sock"));
    let ask = move || ask_cluster(&socket, config.interval, &asked, &sender);
    Builder::new().name("ask".into()).stack_size(STACK).spawn(ask)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, async {
        let served = Rc::new(verbs::FaceState { shared, news });
        let task =
            tasks::serve(config.control, config.callers, verbs::LIMITS, verbs::verbs(), served)?;
        ready()?;
        match task.await {
            Ok(never) => match never {},
            Err(error) => Err(io::Error::other(error)),
        }
    })
}

/// Asks `cluster` forever, and signals each answer and each missing one.
fn ask_cluster(socket: &Path, interval: Duration, shared: &Shared, news: &watch::Sender<()>) {
    let (mut client, mut logged) = (None, String::new());
    loop {
        let answer = query(&mut client, socket);
        let problem = shared.with(|figures, now| match &answer {
            Ok(status) => figures.hear(status, now).err(),
            Err(error) => {
                let problem = format!("`cluster` does not answer: {error}");
                figures.lose(problem.clone());
                Some(problem)
            }
        });
        if problem.is_some() {
            // The next round reconnects.
            client = None;
        }
        let problem = problem.unwrap_or_default();
        if problem != logged {
            if !problem.is_empty() {
                say!("{problem}");
            }
            logged = problem;
        }
        news.send_replace(());
        sleep(interval);
    }
}

fn query(client: &mut Option<Client<UnixStream>>, socket: &Path) -> Result<Value, CallError> {
    let client = match client {
        Some(client) => client,
        None => {
            let new = Client::connect(socket)?;
            new.stream().set_read_timeout(Some(TIMEOUT))?;
            client.insert(new)
        }
    };
    client.call(STATUS, Map::new())
}
