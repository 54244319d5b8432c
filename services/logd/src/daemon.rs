//! The event loop. Pipes have priority over clients.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::BothClocks;
use crate::intake::{LogIntake, PipeRead};
use crate::poll::{EventSource, Poll};
use crate::serve::LogClients;
use crate::settings::Settings;
use crate::tail::Tail;
use crate::wake::Wake;
use octet_node::boot::boot_id;

use crate::inputs::InheritedFds;
use crate::start;

/// The maximum number of reads from each pipe at the end; they hold more than a pipe does.
const LAST_READS: usize = 128;

struct Daemon {
    poll: Poll,
    wake: Wake,
    tail: Arc<Tail>,
    intake: LogIntake,
    clients: LogClients,
    signal: UnixStream,
}

/// Runs until SIGTERM.
///
/// # Errors
/// No descriptor, thread or socket is available. All other errors are handled.
pub fn run(settings: &Settings, inherited: Vec<(String, OwnedFd)>) -> io::Result<()> {
    let (signal, sender) = UnixStream::pair()?;
    signal.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, sender)?;
    let wake = Wake::new()?;
    let tail = Arc::new(Tail::new(settings.memory, boot_id(), wake.clone()));
    let mut inputs = InheritedFds::new(inherited);
    let (keeper, opened) = start::storage_thread(settings, &tail)?.unzip();
    let clients = start::clients(settings, &tail, &wake, inputs.listener()?)?;
    let intake = start::intake(settings, &tail, inputs, opened.as_ref());
    let poll = Poll::new()?;
    let mut daemon = Daemon { poll, wake, tail, intake, clients, signal };
    daemon.watch()?;
    if let Err(error) = octet_node::notify_ready() {
        daemon.tail.log(&format!("cannot notify PID 1: {error}"));
    }
    daemon.serve();
    daemon.shut_down(keeper);
    Ok(())
}

impl Daemon {
    fn watch(&self) -> io::Result<()> {
        self.poll.add(&self.signal, EventSource::Signal)?;
        self.poll.add(&self.wake, EventSource::Wake)?;
        self.poll.add(self.clients.listener(), EventSource::Listener)?;
        for (index, (unit, file)) in self.intake.pipes().enumerate() {
            let index = u32::try_from(index).map_err(io::Error::other)?;
            if let Err(error) = self.poll.add(file, EventSource::Pipe(index)) {
                self.tail.log(&format!("the output of {unit} cannot be read: {error}"));
            }
        }
        if let Some(kernel) = self.intake.kernel()
            && let Err(error) = self.poll.add(kernel, EventSource::Kernel)
        {
            self.tail.log(&format!("the kernel's log cannot be waited for: {error}"));
        }
        Ok(())
    }

    fn serve(&mut self) {
        let mut ended = false;
        while !ended {
            let ready = self.poll.wait(self.timeout());
            for ready in ready {
                match ready.source {
                    EventSource::Pipe(index) => self.read_pipe(index as usize),
                    EventSource::Kernel => drop(self.intake.take_kernel()),
                    EventSource::Signal => ended = true,
                    EventSource::Wake => {
                        self.wake.clear();
                        self.intake.stored();
                    }
                    EventSource::Listener => self.clients.accept(&self.poll),
                    EventSource::Client(token) => self.clients.serve(token, ready),
                }
            }
            self.log_drops();
            self.clients.receive_batches();
            self.clients.advance(&self.poll);
        }
    }

    /// The timeout of the next wait: until dropped lines must be reported.
    fn timeout(&self) -> Option<Duration> {
        let due = self.intake.due()?;
        // A millisecond is added, because an early wake-up would only repeat the wait.
        Some(due.saturating_sub(BothClocks::read().since_start()) + Duration::from_millis(1))
    }

    fn read_pipe(&mut self, index: usize) {
        match self.intake.read_pipe(index) {
            Ok(PipeRead::Some | PipeRead::Nothing) => {}
            Ok(PipeRead::Closed) => self.remove_pipe(index),
            Err(error) => {
                self.tail.log(&format!("the output of a unit cannot be read: {error}"));
                self.remove_pipe(index);
            }
        }
    }

    fn remove_pipe(&self, index: usize) {
        if let Some((_, file)) = self.intake.pipes().nth(index) {
            self.poll.remove(file);
        }
    }

    fn log_drops(&mut self) {
        let now = BothClocks::read().since_start();
        self.intake.log_dropped(now);
        self.intake.log_evicted(now);
    }

    /// Reads the rest of the pipes, and writes everything to disk.
    fn shut_down(mut self, keeper: Option<JoinHandle<()>>) {
        for index in 0..self.intake.pipes().count() {
            for _ in 0..LAST_READS {
                if !matches!(self.intake.read_pipe(index), Ok(PipeRead::Some)) {
                    break;
                }
            }
        }
        for _ in 0..LAST_READS {
            if self.intake.take_kernel() != PipeRead::Some {
                break;
            }
        }
        self.intake.finish();
        self.intake.log_dropped(Duration::MAX);
        self.intake.log_evicted(Duration::MAX);
        self.tail.stop();
        if let Some(keeper) = keeper {
            let _ = keeper.join();
        }
        self.intake.forget_stored();
    }
}
