//! The owner's own means, as processes of this computer: `octetctl` by the gate, and `cargo image ctl`
//! at the port without one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::Machine;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use octet_image::Registration;
use octet_image::Target;
use octet_image::build::{self, Options};

/// The operator's key, in the owner's folder.
const KEY: &str = "key";

/// No program takes this long, however busy the host.
const LONGEST: Duration = Duration::from_secs(600);

/// A program of the owner's failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{words}` failed:\n{said}")]
#[diagnostic(help("see what the box's console says: `cargo image run`"))]
struct Failed {
    words: String,
    said: String,
}

/// An owner: keys, the boxes that are known, and both programs, for as long as the value lives.
pub struct BenchOwner {
    folder: TempDir,
    octetctl: PathBuf,
    builder: PathBuf,
}

impl BenchOwner {
    /// One who has no key yet.
    pub fn new(options: &Options) -> miette::Result<Self> {
        let folder = tempfile::tempdir().into_diagnostic()?;
        install(options.builder(), folder.path())?;
        let [octetctl, builder] = ["octetctl", "octet-image"].map(|name| folder.path().join(name));
        std::fs::copy(options.builder(), &builder).into_diagnostic()?;
        Ok(Self { folder, octetctl, builder })
    }

    /// A file of the owner's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the operator's key, and returns its public half.
    pub fn keygen(&self) -> miette::Result<String> {
        let way = ClientProgram { program: self.octetctl.clone(), ..self.nothing() };
        let (_, said) = way.ask(&["keygen", &self.file(KEY).to_string_lossy()])?;
        Ok(said.trim().to_owned())
    }

    /// `octetctl` at the gate of the box `node`, which is reached at `end`.
    pub fn by_gate(&self, node: &str, end: SocketAddr) -> ClientProgram {
        let key = self.file(KEY).to_string_lossy().into_owned();
        let first = vec!["--key".into(), key, "--box".into(), format!("{node}@{end}")];
        ClientProgram { program: self.octetctl.clone(), first, ..self.nothing() }
    }

    /// `cargo image ctl`, without cargo, at the control port of `machine`.
    pub fn by_port(&self, machine: &Machine, target: Target) -> miette::Result<ClientProgram> {
        // It looks for the only machine that runs from the clone that it is in.
        let clone = self.file("clone");
        let out = clone.join("out");
        for folder in [&out, &clone.join("overlays")] {
            std::fs::create_dir_all(folder).into_diagnostic()?;
        }
        std::fs::write(clone.join("Cargo.toml"), "").into_diagnostic()?;
        let place =
            Registration::register(&out, target.name(), machine.folder()).into_diagnostic()?;
        let (program, first) = (self.builder.clone(), vec!["ctl".into()]);
        Ok(ClientProgram { program, first, folder: clone, _place: Some(place), ..self.nothing() })
    }

    fn nothing(&self) -> ClientProgram {
        let folder = self.folder.path().to_owned();
        let (program, first) = (PathBuf::new(), vec![]);
        ClientProgram { program, first, home: folder.clone(), folder, _place: None }
    }
}

/// Puts `octetctl` into `folder` as the README tells owners to: that of the image speaks to fewer.
fn install(builder: &Path, folder: &Path) -> miette::Result<()> {
    let mut command = Command::new(builder);
    command.current_dir(build::workspace()?.root()).args(["tools", "--into"]).arg(folder);
    let output = command.output().into_diagnostic()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failed { words: "cargo image tools".to_owned(), said }.into())
}

/// A way to ask the box: a program, and its first words.
pub struct ClientProgram {
    program: PathBuf,
    first: Vec<String>,
    folder: PathBuf,
    home: PathBuf,
    /// By which `cargo image ctl` finds the machine.
    _place: Option<Registration>,
}

impl ClientProgram {
    /// Asks: how long the program ran, and what it printed.
    pub fn ask(&self, words: &[&str]) -> miette::Result<(Duration, String)> {
        let mut command = Command::new(&self.program);
        command.args(&self.first).args(words).current_dir(&self.folder);
        timed(command.env("HOME", &self.home).env_remove("XDG_CONFIG_HOME"))
    }
}

/// Runs a program to its end.
fn timed(command: &mut Command) -> miette::Result<(Duration, String)> {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let child = piped.spawn().into_diagnostic()?;
    let (pid, (sender, ended)) = (Pid::from_child(&child), channel());
    // It ends with the program, which ends or is killed.
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(LONGEST);
    let took = began.elapsed();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = match output {
        Ok(Ok(output)) if output.status.success() => return Ok((took, text(&output.stdout))),
        Ok(Ok(output)) => text(&output.stderr),
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            kill_process(pid, Signal::KILL).into_diagnostic()?;
            format!("it had not ended after {} s", LONGEST.as_secs())
        }
    };
    let words = command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>();
    Err(Failed { words: words.join(" "), said }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_no_measurement() {
        let sh = |line: &str| timed(Command::new("sh").args(["-c", line]));
        assert_eq!(sh("echo it is").unwrap().1, "it is\n");
        let error = sh("echo it is not >&2; false").unwrap_err().to_string();
        assert!(error.contains("it is not"), "{error}");
    }
}
