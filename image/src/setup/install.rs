//! Installing, each thing by the ordinary client of where it comes from.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use miette::Diagnostic;
use octet_machine::find_program;

use crate::setup::find::{guests_folder, python_folder, unpacked_folder};
use crate::setup::need::{Need, ToolSource};
use crate::store::{Apt, AptError};

/// Something could not be installed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum InstallError {
    /// The client itself is missing.
    #[error("`{program}` is not in PATH, so --setup cannot install:\n{list}")]
    #[diagnostic(help("install these by hand, then run the same command again"))]
    NoClient {
        program: &'static str,
        /// What it was to install.
        list: String,
    },
    /// The client failed; it has said why.
    #[error("`{command}` failed: {status}")]
    #[diagnostic(help("its own words are above; mend that, then run the same command again"))]
    Failed { command: String, status: ExitStatus },
    /// The client could not be started.
    #[error("`{command}` cannot be started: {why}")]
    #[diagnostic(help("install it by hand, then run the same command again"))]
    NotStarted {
        /// What was to be run.
        command: String,
        why: std::io::Error,
    },
    /// There is no folder for what only we use.
    #[error("there is no folder for what only we use: neither XDG_CACHE_HOME nor HOME is set")]
    #[diagnostic(help("set HOME"))]
    NoFolder,
    /// apt, of which no installing is asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apt(#[from] AptError),
    #[error("cannot write {path}: {why}")]
    #[diagnostic(help("make it writable for you"))]
    Folder { path: PathBuf, why: std::io::Error },
    /// It was installed and still cannot be found.
    #[error("these were installed and still cannot be found:\n{0}")]
    #[diagnostic(help("see whether PATH has the folders of installed programs"))]
    StillMissing(String),
}

/// Installs `needs`: Debian's packages first, since the rest may need them.
///
/// # Errors
/// A client is missing or failed.
pub fn install(needs: &[&Need]) -> Result<(), InstallError> {
    let packages: Vec<&str> = needs
        .iter()
        .filter_map(|need| match need.source {
            ToolSource::Debian(packages) => Some(packages),
            _ => None,
        })
        .flatten()
        .copied()
        .collect();
    if !packages.is_empty() {
        debian(&packages)?;
    }
    for need in needs {
        match need.source {
            ToolSource::Debian(_) => {}
            ToolSource::Unpacked(packages) => {
                unpack(packages, unpacked_folder(), host_architecture())?;
            }
            ToolSource::Guests(packages) => unpack(packages, guests_folder(), "amd64")?,
            ToolSource::Rustup(target) => {
                let rustup = client("rustup", target)?;
                run(Command::new(rustup).args(["target", "add", target]))?;
            }
            ToolSource::Pip(release) => {
                let folder = python_folder().ok_or(InstallError::NoFolder)?;
                let pip = ["-m", "pip", "install", "--quiet", "--upgrade", "--target"];
                run(Command::new("python3").args(pip).arg(folder).arg(release))?;
            }
        }
    }
    Ok(())
}

fn debian(packages: &[&str]) -> Result<(), InstallError> {
    let list = packages.join(" ");
    client("apt-get", &list)?;
    if !is_root() {
        client("sudo", &list)?;
    }
    run(&mut apt(&["update", "--quiet"]))?;
    // What is there already stays as it is: this is about what is missing.
    let install = ["install", "--quiet", "--yes", "--no-install-recommends", "--no-upgrade"];
    run(apt(&install).args(packages))
}

/// This host's architecture as Debian spells it.
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Downloads `packages` and unpacks them into a folder of our own. Nobody has to be root for that.
fn unpack(
    packages: &[&str],
    folder: Option<PathBuf>,
    architecture: &str,
) -> Result<(), InstallError> {
    let folder = folder.ok_or(InstallError::NoFolder)?;
    let part = folder.with_extension("part");
    let no_folder = |why| InstallError::Folder { path: part.clone(), why };
    let clear = || if part.exists() { std::fs::remove_dir_all(&part) } else { Ok(()) };
    clear().map_err(no_folder)?;
    eprintln!("setup      fetches lists of packages for {architecture}");
    let apt = Apt::update(&part.join("apt"), architecture)?;
    for name in packages {
        let version = apt.policy(name)?.candidate.unwrap_or_default();
        let into = part.join(name);
        std::fs::create_dir(&into).map_err(no_folder)?;
        let deb = apt.download(name, &version, &into)?;
        run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(&folder))?;
    }
    clear().map_err(no_folder)
}

/// apt-get as root. The variable is given by `env`, because `sudo` passes none on.
fn apt(args: &[&str]) -> Command {
    let quiet = "DEBIAN_FRONTEND=noninteractive";
    let mut command = if is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    };
    command.args([quiet, "apt-get"]).args(args);
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn client(program: &'static str, list: &str) -> Result<PathBuf, InstallError> {
    let missing = || InstallError::NoClient { program, list: format!("  {list}") };
    find_program(program).ok_or_else(missing)
}

fn run(command: &mut Command) -> Result<(), InstallError> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let text = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    eprintln!("setup      {text}");
    // Standard output is the command's own result; what installers say is progress.
    let status = command
        .stdout(std::io::stderr())
        .status()
        .map_err(|why| InstallError::NotStarted { command: text.clone(), why })?;
    if status.success() { Ok(()) } else { Err(InstallError::Failed { command: text, status }) }
}
