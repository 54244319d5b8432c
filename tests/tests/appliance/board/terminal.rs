//! `cargo image run` and `cargo image ctl` as a person uses them.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use octet_machine::Architecture;
use octet_tests::{
    READY, SOON, builder, in_terminal, link_programs, must, one_at_a_time, run, shipped, workspace,
};
use rustix::process::{Pid, Signal, kill_process};

/// `cargo image` of the workspace, with the image built already.
fn image(args: &[&str]) -> Command {
    shipped();
    let mut command = Command::new(builder());
    command.current_dir(workspace()).args(args);
    command
}

/// The place at which `out/` has the one machine of `cargo image run`.
const RUN: &str = "run";

/// A program whose terminal we are.
struct InTerminal {
    child: Child,
    said: Receiver<Vec<u8>>,
    text: String,
}

impl InTerminal {
    fn start(command: Command) -> Self {
        let (child, mut ours) = in_terminal(command);
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails once nobody has the other end.
            while let Ok(count) = ours.read(&mut buffer) {
                let _ = sender.send(buffer[..count].to_vec());
            }
        });
        Self { child, said, text: String::new() }
    }

    fn wait_for(&mut self, what: &str, within: Duration) {
        let deadline = Instant::now() + within;
        while !self.text.contains(what) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(left) {
                Ok(bytes) => self.text += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("no `{what}` ({error}) in:\n{}", self.text),
            }
        }
    }

    /// Waits for the program's end, and for all that it has said.
    fn end(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        for bytes in &self.said {
            self.text += &String::from_utf8_lossy(&bytes);
        }
        status
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for InTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_person_watches_asks_and_turns_it_off() {
    let _one = one_at_a_time(RUN);
    let without = run(&mut image(&["ctl", "status"]));
    assert_ne!(without.status, Some(0));
    assert!(without.stderr.contains("cargo image run"), "{}", without.stderr);

    let mut terminal = InTerminal::start(image(&["run"]));
    terminal.wait_for("cargo image ctl", READY);
    terminal.wait_for("READY", READY);
    let status = must(&mut image(&["ctl", "status"])).stdout;
    assert!(status.contains("ready") && status.contains("console"), "{status}");
    let json = must(&mut image(&["ctl", "--json", "status"])).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["state"], "ready");
    let help = must(&mut image(&["ctl", "--help"])).stdout;
    for verb in ["status", "boot", "logs", "poweroff"] {
        assert!(help.contains(verb), "{help}");
    }
    let wrong = run(&mut image(&["ctl", "logs", "no-such-unit"]));
    assert_ne!(wrong.status, Some(0));
    assert!(wrong.stderr.contains("no-such-unit"), "{}", wrong.stderr);

    terminal.signal(Signal::INT);
    terminal.wait_for("powering off", SOON);
    let status = terminal.end();
    assert!(status.success(), "{status}:\n{}", terminal.text);
    assert_ne!(run(&mut image(&["ctl", "status"])).status, Some(0));
}

#[test]
fn without_a_terminal_it_reports_and_ends_and_a_missing_qemu_is_said() {
    let _one = one_at_a_time(RUN);
    let qemu = Architecture::X86_64.emulator().program;
    // The machine's own programs, once with QEMU and once without.
    let folder = tempfile::tempdir().unwrap();
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    for (to, leave_out) in [(&with, ""), (&without, qemu)] {
        fs::create_dir(to).unwrap();
        link_programs(to, leave_out);
    }
    let said = must(image(&["run"]).env("PATH", &with).stdin(Stdio::null())).stdout;
    for word in ["console", "ready", "mount-api", "mount-root", "supervise", "powered off"] {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
    let error = run(image(&["run"]).env("PATH", &without).stdin(Stdio::null()));
    assert_eq!(error.status, Some(1), "{}", error.stderr);
    for word in [qemu, "qemu-system-x86", "--setup"] {
        assert!(error.stderr.contains(word), "no `{word}` in:\n{}", error.stderr);
    }
}
