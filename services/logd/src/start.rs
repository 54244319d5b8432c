//! Startup: the threads, and the state that exists already.
//!
//! The boot waits for logd, which must therefore not wait for the disk: the keeper's thread opens
//! the store. Its marks only matter to a logd that is restarted within the same boot.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::intake::LogIntake;
use crate::journal::Journal;
use crate::rates::UnitRates;
use crate::read::{self, LogReader};
use crate::serve::LogClients;
use crate::settings::Settings;
use crate::storage_thread;
use crate::store::Marks;
use crate::tail::Tail;
use crate::wake::Wake;
use octet_node::Callers;

use crate::inputs::{InheritedFds, dropped_by_init};

/// How long a restarted logd waits for the store. After that it continues without the marks, and
/// lines that are both on disk and in the journal are stored twice.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The stack size of a thread, in bytes. Both threads keep large data on the heap.
const STACK: usize = 256 << 10;

/// Receives the store's marks once it was opened.
pub type StoreOpened = Receiver<Option<Marks>>;

/// Starts the thread that writes to disk, if there is a folder.
pub fn storage_thread(
    settings: &Settings,
    tail: &Arc<Tail>,
) -> io::Result<Option<(JoinHandle<()>, StoreOpened)>> {
    let Some(folder) = settings.state.clone() else {
        tail.stay_in_memory("PID 1 has given no folder to keep it in");
        return Ok(None);
    };
    let (sender, opened) = channel();
    let (limits, retry) = (settings.limits, settings.retry);
    let keeper = storage_thread::Settings { folder, limits, boot: tail.lock().boot, retry };
    let tail = tail.clone();
    let run = move || storage_thread::run(&keeper, &tail, &sender);
    let thread = Builder::new().name("keeper".into()).stack_size(STACK).spawn(run)?;
    Ok(Some((thread, opened)))
}

/// Starts the thread that reads for clients, and serves connections to `listener`.
pub fn clients(
    settings: &Settings,
    tail: &Arc<Tail>,
    wake: &Wake,
    listener: UnixListener,
) -> io::Result<LogClients> {
    let ((jobs, to_do), (sender, done)) = (channel(), channel());
    // Without a folder there are no segments, and the path is never used.
    let folder = settings.state.clone().unwrap_or_default();
    let reader = LogReader { tail: tail.clone(), folder };
    let wake = wake.clone();
    let run = move || read::serve(&reader, &to_do, &sender, &wake);
    Builder::new().name("reader".into()).stack_size(STACK).spawn(run)?;
    Ok(LogClients::new(tail.clone(), listener, Callers::from_environment(), jobs, done))
}

/// Takes over the pipes, the kernel's log, and the journal of the previous logd.
pub fn intake(
    settings: &Settings,
    tail: &Arc<Tail>,
    mut inputs: InheritedFds,
    opened: Option<&StoreOpened>,
) -> LogIntake {
    for name in &inputs.unknown {
        tail.log(&format!("was passed something called `{name}`, which means nothing here"));
    }
    let (journal, chunks) = match inputs.journal.take().map(Journal::open) {
        Some(Ok((journal, chunks))) => (Some(journal), chunks),
        Some(Err(error)) => {
            tail.log(&format!("the journal cannot be used: {error}"));
            (None, vec![])
        }
        None => (None, vec![]),
    };
    let is_first = journal.as_ref().is_some_and(Journal::is_new);
    let opened = opened.filter(|_| !is_first);
    let kept = opened.and_then(|opened| opened.recv_timeout(TIMEOUT).ok().flatten());
    let pipes = std::mem::take(&mut inputs.pipes);
    let kept = kept.unwrap_or_default();
    let rates = std::env::var("OCTET_LOG_RATES").unwrap_or_default();
    let rates = UnitRates::new(&rates, settings.rate);
    let mut intake = LogIntake::new(tail.clone(), pipes, &rates, journal, kept);
    intake.replay(chunks);
    let none = || io::Error::other("PID 1 has not passed it");
    let kernel = inputs.kmsg.take().ok_or_else(none);
    if let Err(error) = kernel.and_then(|kernel| intake.add_kernel(kernel)) {
        tail.log(&format!("the kernel's log cannot be read: {error}"));
    }
    for (unit, bytes) in dropped_by_init() {
        tail.log(&format!("{bytes} bytes of {unit} were lost while logd was away"));
        tail.lock().stats.unit(&unit.into()).count_lost(bytes);
    }
    intake
}
