//! Programs in a terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{RETRY_DELAY, workspace};

/// Starts `command` in a terminal of its own. Returns the controlling side of the terminal: writing
/// to it types, and reading from it fails once the program and its children have ended.
pub fn in_terminal(mut command: Command) -> (Child, File) {
    // No child inherits this side, because then closing it would not close the terminal.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).expect("a terminal");
    grantpt(&ours).expect("a terminal");
    unlockpt(&ours).expect("a terminal");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let name = name.to_str().expect("its name in UTF-8");
    let theirs = File::options().read(true).write(true).open(name).expect("its other end");
    let end = || -> io::Result<Stdio> { Ok(OwnedFd::from(theirs.try_clone()?).into()) };
    for set in [Command::stdin, Command::stdout, Command::stderr] {
        set(&mut command, end().expect("a copy of it"));
    }
    // Only the child keeps the other side: `command` and `theirs` are dropped here.
    let child = command.spawn().expect("the program starts");
    (child, File::from(ours))
}

/// A program in a terminal that the test controls.
pub struct InTerminal {
    child: Child,
    said: Receiver<Vec<u8>>,
    /// The input of the terminal; `None` once it is closed.
    keyboard: Option<File>,
    /// The output so far.
    pub text: String,
    /// Whether the terminal is to be closed, and the thread that reads it until then.
    closing: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl InTerminal {
    /// Starts `command` in its working directory, by default in the workspace.
    #[must_use]
    pub fn start(command: Command) -> Self {
        // It becomes the controlling terminal, so that the program gets SIGHUP when it is closed.
        let mut own = Command::new("setsid");
        own.arg("--ctty").arg(command.get_program()).args(command.get_args());
        own.current_dir(command.get_current_dir().unwrap_or(&workspace()));
        let (child, mut ours) = in_terminal(own);
        let keyboard = ours.try_clone().expect("a copy of our end");
        let (sender, said) = channel();
        let closing = Arc::new(AtomicBool::new(false));
        let closes = Arc::clone(&closing);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !closes.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(&ours, PollFlags::IN)];
                let pause = RETRY_DELAY.try_into().expect("a short time");
                if poll(&mut fds, Some(&pause)).expect("a poll") == 0 {
                    continue;
                }
                // Reading fails once no process has the other side open.
                let Ok(count) = ours.read(&mut buffer) else { break };
                let _ = sender.send(buffer[..count].to_vec());
            }
        });
        Self {
            child,
            said,
            keyboard: Some(keyboard),
            text: String::new(),
            closing,
            reader: Some(reader),
        }
    }

    /// Closes the terminal, as if a user closes its window.
    pub fn close(&mut self) {
        self.keyboard = None;
        self.closing.store(true, Ordering::Relaxed);
        let reader = self.reader.take().expect("it is closed once");
        reader.join().expect("its reader ends");
    }

    /// Types `keys`.
    ///
    /// # Panics
    /// The program has ended, or its terminal is closed.
    pub fn keys(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("the terminal is open");
        keyboard.write_all(keys.as_bytes()).expect("somebody reads it");
    }

    /// Waits until the output contains `what`.
    ///
    /// # Panics
    /// It does not appear `within` this time.
    pub fn wait_for(&mut self, what: &str, within: Duration) {
        let deadline = Instant::now() + within;
        while !self.text.contains(what) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(bytes) => self.text += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("late: no `{what}` ({error}) in:\n{}", self.text),
            }
        }
    }

    /// Waits for further output; returns `false` at the end of the output.
    ///
    /// # Panics
    /// There is none `within` this time.
    pub fn says_more(&mut self, within: Duration) -> bool {
        match self.said.recv_timeout(within) {
            Ok(bytes) => self.text += &String::from_utf8_lossy(&bytes),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(error) => panic!("late: nothing more ({error}) after:\n{}", self.text),
        }
        true
    }

    /// Waits for the end of the program, and for all of its output.
    pub fn end(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("its end");
        for bytes in &self.said {
            self.text += &String::from_utf8_lossy(&bytes);
        }
        status
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }
}

impl Drop for InTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
