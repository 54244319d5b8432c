//! A program of this host as a device in the lan of a box that runs in QEMU, or in the network that its uplink is in.
//!
//! It runs in user, network and mount namespaces of its own, so it needs no root: `unshare` makes them, and starts the
//! builder in them once more. That one makes a pair of network cards (veth). `lan`, or `outside`, is the device's; whatever
//! comes to `wire`, its other end, goes to a hub of `cargo image run`, and back. In the lan the device gets its address from
//! the box's DHCP server, asks the box for names, and takes IPv6 from its router advertisements, as the kernel does.
//!
//! Programs of the host itself get there by ports of the host whose sockets the builder takes along: as a proxy (`socks`), or
//! each to one destination (`forward`, `udp`).

mod dhcp;
mod forward;
mod http;
mod listen;
mod namespaces;
mod relay;
mod resolver;
mod socks;
mod sys;
mod udp;
mod wire;

use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::panel::{Mac, hub, outside, router};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

pub use listen::Ports;
pub use namespaces::enter;

use dhcp::DeviceLease;

/// How long the box's DHCP server may take to answer: the box may still boot.
const LEASE_TIMEOUT: Duration = Duration::from_secs(300);

/// The other end of the cable in the device's network card.
const WIRE: &str = "wire";

/// Names of variables that send programs to a proxy of the host's, where they cannot go from the lan.
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
];

/// Where a device is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PlugPoint {
    /// The zone lan: the owner's devices
    Lan,
    /// The network of the router's uplink
    Outside,
}

impl PlugPoint {
    /// What it is called, as an argument too; so is the device's network card.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Outside => "outside",
        }
    }

    /// The Ethernet address of the device with this `number` at the hub.
    fn mac(self, number: u8) -> Mac {
        match self {
            Self::Lan => router::device(number),
            Self::Outside => outside::device(number),
        }
    }
}

/// The lan cannot be entered.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum LanError {
    /// The hub is not there.
    #[error("cannot connect to the network of the box at {}: {why}", hub.display())]
    #[diagnostic(help("the box that was started by `cargo image run` has ended; start it again"))]
    Hub {
        /// The hub's socket.
        hub: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The kernel refuses.
    #[error("cannot {what}: {why}")]
    Kernel {
        /// What was to be done.
        what: String,
        /// What it says.
        why: String,
    },
    /// The box gives no address.
    #[error("no DHCP server answers: {0}")]
    #[diagnostic(help(
        "wait until the box is ready: the terminal of `cargo image run` shows its table then. `[lan]` must be in \
         appliance.toml"
    ))]
    NoLease(io::Error),
    /// There is no such program.
    #[error("cannot run `{program}`: {why}")]
    Program {
        /// Its name.
        program: String,
        /// Why.
        why: io::Error,
    },
}

impl LanError {
    fn kernel(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |why| Self::Kernel { what, why: why.to_string() }
    }
}

/// In the namespaces: runs `command` as a device at the `hub` of this `side`, with its settings in the folder `config`, and serves the
/// `ports`, whose sockets have these numbers. Without a command it runs a shell, or serves until its end.
///
/// # Errors
/// The box does not take it, or the host refuses.
pub fn run(
    side: PlugPoint,
    hub: &Path,
    config: &Path,
    ports: &Ports,
    sockets: &[RawFd],
    command: &[OsString],
) -> miette::Result<ExitCode> {
    // Before anything is started that would have them, too.
    let sockets = ports.inherit(sockets)?;
    let (socket, number) =
        hub::join(hub).map_err(|why| LanError::Hub { hub: hub.to_owned(), why })?;
    // It has the same address each time, so that many short commands do not take all that the box has to give.
    let (card, mac) = (side.name(), side.mac(number));
    let wire = connect(card, mac)?;
    let (end, ended) = channel();
    let box_ended = end.clone();
    std::thread::spawn(move || {
        // The box has gone, or the wire was taken away in here: both are a cable that is pulled.
        let _ = wire::forward(&socket, &wire);
        let unreachable = match side {
            PlugPoint::Lan => "the box has been turned off",
            PlugPoint::Outside => {
                "the box that has made this network has been turned off: start again"
            }
        };
        eprintln!("\n{card:10} {unreachable}");
        let _ = ip(&["link", "set", WIRE, "down"]);
        let _ = box_ended.send(());
    });
    let lease = lease(card, mac)?;
    configure(card, &lease)?;
    if let Err(error) = resolver::replace(&lease) {
        eprintln!("warning: {error}: names of the box are not found, only addresses");
    }
    let domain = lease.domain.as_deref();
    let names = domain.map_or("there are no names".to_owned(), |it| format!("names end in .{it}"));
    eprintln!(
        "{card:10} {}/{} by the DHCP server {}; {names}",
        lease.address, lease.prefix, lease.server
    );
    if command.is_empty() && !ports.is_empty() {
        end_by_signal(end)?;
        ports.serve(sockets, domain).map_err(LanError::kernel("listen"))?;
        std::thread::spawn(move || renew_lease(card, mac, lease));
        // The box ends, or somebody wants us to.
        let _ = ended.recv();
        return Ok(ExitCode::SUCCESS);
    }
    ports.serve(sockets, domain).map_err(LanError::kernel("listen"))?;
    let shell = [std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    let command = if command.is_empty() {
        let place = match side {
            PlugPoint::Lan => "in the lan of the box",
            PlugPoint::Outside => "in the network outside of the box",
        };
        eprintln!("{card:10} a shell {place}: `exit` leaves it");
        &shell
    } else {
        command
    };
    std::thread::spawn(move || renew_lease(card, mac, lease));
    wait(start(command, config)?)
}

/// Makes the device's card, and returns the other end of its cable.
fn connect(card: &str, mac: Mac) -> Result<std::os::fd::OwnedFd, LanError> {
    let mac = mac.to_string();
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", card, "address", &mac, "type", "veth", "peer", "name", WIRE])?;
    // The other end has no address, and says nothing of its own.
    ip(&["link", "set", "dev", WIRE, "addrgenmode", "none"])?;
    ip(&["link", "set", WIRE, "arp", "off", "up"])?;
    // What a card would do to a frame is done before, or what comes out has no checksum.
    sys::disable_tx_checksums(card).map_err(LanError::kernel("turn off checksum offload"))?;
    let wire = sys::packet_socket(WIRE);
    let wire = wire.map_err(LanError::kernel(format!("open a packet socket at {WIRE}")))?;
    // The box is a route to its own networks also where it does not lead out (RFC 4191), which the kernel takes if it is
    // told how long a network's prefix may be. One that cannot reaches what it reaches by IPv4.
    let _ =
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{card}/accept_ra_rt_info_max_plen"), "48");
    ip(&["link", "set", card, "up"])?;
    // Before there is an address, the question for one needs a route.
    ip(&["route", "add", "default", "dev", card])?;
    Ok(wire)
}

/// The first address.
fn lease(card: &str, mac: Mac) -> Result<DeviceLease, LanError> {
    let socket = dhcp::socket().map_err(LanError::NoLease)?;
    let patient = Instant::now() + Duration::from_secs(3);
    match dhcp::request_lease(&socket, mac, None, patient) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            eprintln!("{card:10} waiting for an address of the box");
            dhcp::request_lease(&socket, mac, None, Instant::now() + LEASE_TIMEOUT)
                .map_err(LanError::NoLease)
        }
        lease => lease.map_err(LanError::NoLease),
    }
}

fn configure(card: &str, lease: &DeviceLease) -> Result<(), LanError> {
    let address = format!("{}/{}", lease.address, lease.prefix);
    ip(&["address", "add", &address, "broadcast", "+", "dev", card])?;
    match lease.router {
        Some(router) => ip(&["route", "replace", "default", "via", &router.to_string()]),
        None => ip(&["route", "delete", "default", "dev", card]),
    }
}

/// Asks for the address anew when half of its time is over (RFC 2131, 4.4.5).
fn renew_lease(card: &'static str, mac: Mac, mut lease: DeviceLease) {
    let Ok(socket) = dhcp::socket() else { return };
    loop {
        let half = Duration::from_secs(u64::from(lease.seconds) / 2);
        std::thread::sleep(half);
        match dhcp::request_lease(&socket, mac, Some(lease.address), Instant::now() + half) {
            Ok(renewed) if renewed.address == lease.address => lease = renewed,
            Ok(other) => {
                return eprintln!("{card:10} the box gives {} now: start again", other.address);
            }
            Err(error) => return eprintln!("{card:10} the address is not renewed: {error}"),
        }
    }
}

/// Has a ctrl-C, and what is meant by the same, reach `end`.
fn end_by_signal(end: Sender<()>) -> miette::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP]).into_diagnostic()?;
    std::thread::spawn(move || signals.forever().next().map(|_| end.send(())));
    Ok(())
}

/// Starts `command`, which ends with us.
fn start(command: &[OsString], config: &Path) -> Result<Child, LanError> {
    let program = command.first().cloned().unwrap_or_default();
    let mut started = Command::new("setpriv");
    started.args(["--pdeathsig", "KILL", "--"]).args(command);
    started.env("XDG_CONFIG_HOME", config);
    for name in PROXIES {
        started.env_remove(name);
    }
    let program = program.to_string_lossy().into_owned();
    started.spawn().map_err(|why| LanError::Program { program, why })
}

/// Waits for the end of `child`, which a ctrl-C reaches without us.
fn wait(mut child: Child) -> miette::Result<ExitCode> {
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP]).into_diagnostic()?;
    let pid = Pid::from_child(&child);
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let signal = match signal {
                SIGTERM => Signal::TERM,
                SIGHUP => Signal::HUP,
                _ => continue,
            };
            // It may have just ended.
            let _ = kill_process(pid, signal);
        }
    });
    let status = child.wait().into_diagnostic()?;
    // As shells say it.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1)))
}

/// Runs iproute2's `ip`.
fn ip(arguments: &[&str]) -> Result<(), LanError> {
    let what = || format!("do `ip {}`", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| LanError::kernel(what())(error))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LanError::Kernel { what: what(), why })
}
