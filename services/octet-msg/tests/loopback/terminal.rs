//! A terminal, and what is on its screen: tmux, whose server is this one's alone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The limit of waiting, which only ends a hang, and the pause between two looks.
const SOON: Duration = Duration::from_secs(180);
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// A screen of the usual size stays when its program has ended, with nothing else on it.
const SETTINGS: &str = "set -g remain-on-exit on\nset -g remain-on-exit-format ''\n";

/// Runs a program, and keeps in the file that is named before it how it has ended.
const KEEP_STATUS: &str = r#""$@"; echo $? > "$0""#;

/// What `program` says, which must be there and succeed.
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

/// How a program in the terminal has ended, and what was on the screen then.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub screen: String,
    /// The same, with what is said of colours (ECMA-48).
    pub coloured: String,
}

impl Terminal {
    /// A new one, of somebody whose files are in `home`.
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

    /// Runs `program` with `words` to its end. Whenever it asks one of `typed` the other is typed.
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

    /// Whether the program has ended, and all that it said is on the screen.
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
