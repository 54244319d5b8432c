//! A terminal and its screen: tmux with a server of its own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The timeout, which only a hanging test reaches, and the polling interval.
const SOON: Duration = Duration::from_secs(180);
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// The screen stays after the program has ended, without tmux's own text.
const SETTINGS: &str = "set -g remain-on-exit on\nset -g remain-on-exit-format ''\n";

/// Runs a program, and writes its exit status to the file named first.
const KEEP_STATUS: &str = r#""$@"; echo $? > "$0""#;

/// The output of a command that must succeed.
pub fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `cargo image test --setup` installs what tests need")
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

pub struct Terminal {
    folder: TempDir,
}

/// The exit status of a program, and the screen at its end.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub screen: String,
    /// The screen with colour codes (ECMA-48).
    pub coloured: String,
}

impl Terminal {
    /// A new terminal whose home folder is `home`.
    pub fn new(home: &Path) -> Self {
        let terminal = Self { folder: TempDir::new().unwrap() };
        fs::write(terminal.folder.path().join("settings"), SETTINGS).unwrap();
        let mut start = terminal.tmux();
        start.env("HOME", home).env_remove("XDG_CONFIG_HOME").env("LC_ALL", "C.UTF-8");
        must(start.args(["new-session", "-d", "-x", "80", "-y", "50", "true"]));
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.folder.path().join("socket"));
        command.arg("-f").arg(self.folder.path().join("settings"));
        command
    }

    /// Runs `program` with `words` to its end. For each pair in `typed`, the second is typed after
    /// the prompt that is the first.
    pub fn run(&self, program: &str, words: &[&str], typed: &[(&str, &str)]) -> Ended {
        let status = self.folder.path().join("status");
        let mut respawn = self.tmux();
        respawn.args(["respawn-pane", "-k", "sh", "-c", KEEP_STATUS]).arg(&status);
        must(respawn.arg(program).args(words));
        for (asked, text) in typed {
            self.until(asked, || self.screen(&[]).trim_end().ends_with(asked).then_some(()));
            must(self.tmux().args(["send-keys", "-l", text]));
            must(self.tmux().args(["send-keys", "Enter"]));
        }
        self.until("its end", || self.has_ended().then_some(()));
        let status = fs::read_to_string(status).unwrap().trim().parse().unwrap();
        Ended { status, screen: self.screen(&["-J"]), coloured: self.screen(&["-J", "-e"]) }
    }

    fn screen(&self, options: &[&str]) -> String {
        must(self.tmux().args(["capture-pane", "-p"]).args(options))
    }

    /// Whether the program has ended, and its output is complete.
    fn has_ended(&self) -> bool {
        must(self.tmux().args(["display-message", "-p", "#{pane_dead}"])).trim() == "1"
    }

    fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(start.elapsed() < SOON, "late: {what}\n{}", self.screen(&[]));
            sleep(RETRY_DELAY);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").status();
    }
}
