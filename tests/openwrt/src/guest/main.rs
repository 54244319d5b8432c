//! The double as a guest: `/sbin/init` of a root with busybox. It serves HTTPS, and what its daemons run is put on the
//! guest's kernel: the VLANs of the bridge and the addresses ([`switch`]), and the rules of the firewall ([`rules`]). Who
//! asks for an address gets one ([`dhcp`]). Called by another name it is one of the programs that an owner has at a
//! router's console ([`console`]).
//!
//! It advertises no network of IPv6 and gives no addresses of it, answers no names, and knows one bridge, whose ports
//! stay. A configuration that it cannot put on the kernel ends the guest.

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

/// Where `uhttpd` has its certificate.
const CERTIFICATE: &str = "/etc/uhttpd.crt";

/// What a router is told before anything comes to it: it passes on what is for others, and uses its addresses at once.
const SYSCTLS: [(&str, &str); 4] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];

/// How often the router's clock is set.
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
    // Which port somebody has come by is the kernel's business here: for the router he is on the loopback.
    router.port = "lo".to_owned();
    // Its daemons do at once what files say; on real ones that takes seconds.
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

/// Has the kernel do what `files` say.
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
