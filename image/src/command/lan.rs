//! `cargo image lan`

use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::IntoDiagnostic;

use crate::running::Out;
use crate::{lan, running, setup};

use lan::{PlugPoint, Ports};

/// Runs a command or a shell as a device in the lan of a box that `cargo image run` has booted, or outside of the box
///
/// It needs no root. The command sees only the network of the box, with an address from the box's DHCP server and
/// names from its DNS server; it sees the files of this host. Its settings (XDG_CONFIG_HOME) are kept as long as the
/// box keeps its keys, and contain your operator's key, if `octetctl keygen` has generated one.
///
/// Without `--cluster`, `cargo image run` provides a simple router for the single board: the board's address is
/// 10.20.1.2 (unless `network` of [cluster] differs), and there are no names and no IPv6.
///
/// `--side outside` is the network of the router's uplink, to test what `[[publish]]` and policies allow from there.
/// It has a DHCP server, and other boxes if the box was started with `--outside NAME`. The router's address is
/// 198.18.2.1 (unless `--outside` shows another one), and there are no names.
#[derive(clap::Args)]
pub struct Args {
    /// Install missing Debian packages and Rust targets first
    #[arg(long)]
    setup: bool,
    /// The box, if several `cargo image run` are running; without it they are listed
    #[arg(long, value_name = "N")]
    machine: Option<u32>,
    #[command(flatten)]
    out: Out,
    /// The network that the device is connected to
    #[arg(long, value_enum, default_value_t = PlugPoint::Lan)]
    side: PlugPoint,
    /// In the namespaces already: the socket of the hub, and the folder for settings
    #[arg(long, hide = true, num_args = 2)]
    inside: Option<Vec<PathBuf>>,
    /// There, too: the sockets of the ports, in their order
    #[arg(long, hide = true, value_name = "FD", requires = "inside")]
    socket: Vec<RawFd>,
    #[command(flatten)]
    ports: Ports,
    /// The command and its arguments; default: your shell, or nothing if ports are forwarded
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    if let Some([hub, config]) = args.inside.as_deref() {
        return lan::run(args.side, hub, config, &args.ports, &args.socket, &args.command);
    }
    setup::require(&[&setup::LAN], args.setup)?;
    let (hub, config) = running::hub(&args.out.folder()?, args.machine, args.side)?;
    let config = std::fs::canonicalize(config).into_diagnostic()?;
    if let Err(error) = link_operator_key(&config) {
        eprintln!("warning: your operator's key is not at hand in the lan: {error}");
    }
    let ours = std::env::current_exe().into_diagnostic()?;
    let sockets = args.ports.bind()?;
    let numbers: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let ports = args.ports.arguments(&numbers);
    let mut inside: Vec<_> = ["lan", "--side", args.side.name(), "--inside"].map(OsStr::new).into();
    inside.extend([hub.as_os_str(), config.as_os_str()]);
    inside.extend(ports.iter().map(OsStr::new));
    inside.push("--".as_ref());
    inside.extend(args.command.iter().map(OsString::as_os_str));
    match lan::enter(&ours, &inside, &sockets)? {}
}

/// Gives a device's settings the operator's key of this person: it is in appliance.toml, so it is older than the box.
fn link_operator_key(config: &Path) -> io::Result<()> {
    let own = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
    let own = own.or_else(|| Some(std::env::home_dir()?.join(".config")));
    let Some(key) = own.map(|own| own.join("octet/key")).filter(|key| key.is_file()) else {
        return Ok(());
    };
    let link = config.join("octet/key");
    if link.symlink_metadata().is_ok() {
        return Ok(());
    }
    // As octetctl makes it.
    DirBuilder::new().recursive(true).mode(0o700).create(config.join("octet"))?;
    symlink(key, link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches};

    #[test]
    fn the_folder_of_what_runs_is_said_before_the_command() {
        let command = Args::augment_args(clap::Command::new("lan"));
        let words = ["lan", "--out", "/tmp/other", "ping", "--out", "box"];
        let args = Args::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
        assert_eq!(args.out.folder().unwrap(), Path::new("/tmp/other"));
        assert_eq!(args.command, ["ping", "--out", "box"]);
    }
}
