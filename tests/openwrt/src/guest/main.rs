//! The double as a guest: `/sbin/init` of a root with busybox. It serves HTTPS, and applies the
//! configuration of its daemons to the guest's kernel: the VLANs of the bridge and the addresses
//! ([`switch`]), and the rules of the firewall ([`rules`]). It assigns addresses by DHCP
//! ([`dhcp`]). Under another name it is one of the programs at a router's console ([`console`]).
//!
//! It sends no router advertisements, assigns no IPv6 addresses, and answers no DNS queries. It has
//! one bridge with fixed ports. A configuration that it cannot apply to the kernel ends the guest.

mod console;
mod dhcp;
mod rules;
mod switch;

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use octet_openwrt_double::router::Files;
use octet_openwrt_double::{Router, Server};

/// The file of `uhttpd`'s certificate.
const CERTIFICATE: &str = "/etc/uhttpd.crt";

/// The kernel settings of a router: it forwards packets, and uses its IPv6 addresses without delay.
const SYSCTLS: [(&str, &str); 4] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];

/// The interval at which the double's clock advances.
const TICK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let mut words = env::args();
    let name = words.next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    if name != "init" {
        let line: Vec<String> = [name.to_owned()].into_iter().chain(words).collect();
        return console::ask(&line);
    }
    match init() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("openwrt-double: {error}");
            ExitCode::FAILURE
        }
    }
}

fn init() -> io::Result<std::convert::Infallible> {
    for (name, value) in SYSCTLS {
        fs::write(format!("/proc/sys/{name}"), value)?;
    }
    switch::begin()?;
    let mut router = Router::default();
    // The kernel knows the port of a connection; for the double all clients are on loopback.
    router.port = "lo".to_owned();
    // Its daemons apply files at once; real ones need seconds.
    router.delay = 0;
    router.runs = Some(runs);
    router.restart();
    let server = Server::start_at((Ipv4Addr::UNSPECIFIED, 443).into(), router)?;
    fs::write(CERTIFICATE, server.certificate())?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = Instant::now();
            loop {
                thread::sleep(TICK);
                server.pass(last.elapsed());
                last = Instant::now();
            }
        });
        console::serve(&server)
    })
}

/// Applies `files` to the kernel.
fn runs(files: &Files) {
    let done = switch::run(&files["network"]).and_then(|()| {
        let script = rules::script(&files["firewall"], &files["network"]);
        load(&script).map_err(|error| io::Error::other(format!("{error}\n{script}")))?;
        dhcp::run(&files["dhcp"], &files["network"])
    });
    if let Err(error) = done {
        eprintln!("openwrt-double: {error}");
        std::process::exit(1);
    }
}

fn load(script: &str) -> io::Result<()> {
    let mut nft = Command::new("/usr/sbin/nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let status = nft.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("nft: {status}"))) }
}
