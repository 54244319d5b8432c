//! The wire between this computer and a guest: QEMU's own network of one guest, out of which nothing
//! leads but one port of this computer's loopback to the gate's.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::{Builder, Machine};
use serde_json::json;

/// The unit whose port it is, and the socket that it has for it.
pub const GATE: &str = "gate";

const PORT: u16 = 4040;

/// The guest's address, and that of its other end (QEMU's defaults).
pub const BOX: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// What the guest without a gate says first (tests/guests/src/bin/listener.rs).
const GREETING: &[u8] = b"this is gate\n";

/// No answer of a byte takes this long, however busy the host.
const LONGEST: Duration = Duration::from_secs(60);

/// QEMU does not say where the wire ends.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("QEMU does not tell the port that it forwards:\n{0}")]
#[diagnostic(help("QEMU 7.2 does; is this another one?"))]
struct NoPort(String);

/// Gives a machine a card at such a wire.
pub fn card(machine: Builder) -> Builder {
    // Port 0: one that is free.
    let network = format!("user,id=wire,restrict=on,hostfwd=tcp:127.0.0.1:0-{BOX}:{PORT}");
    machine
        .argument("-netdev")
        .argument(network)
        .argument("-device")
        .argument("virtio-net-pci,netdev=wire,romfile=")
}

/// Where the wire's end is on this computer.
pub fn end(machine: &Machine) -> miette::Result<SocketAddr> {
    let command = json!({ "command-line": "info usernet" });
    let said = machine.qmp("human-monitor-command", command).into_diagnostic()?;
    let said = said.as_str().unwrap_or_default();
    let port = forwarded(said).ok_or_else(|| NoPort(said.to_owned()))?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}

/// The port in QEMU's table of connections: `TCP[HOST_FORWARD] FD ADDRESS PORT …`.
fn forwarded(table: &str) -> Option<u16> {
    let line = table.lines().find(|line| line.contains("TCP[HOST_FORWARD]"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Connects, and has one byte come back.
pub fn echo(end: SocketAddr) -> io::Result<Duration> {
    let began = Instant::now();
    let mut stream = TcpStream::connect_timeout(&end, LONGEST)?;
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_nodelay(true)?;
    stream.write_all(b"x")?;
    let mut heard = [0; GREETING.len() + 1];
    stream.read_exact(&mut heard)?;
    let took = began.elapsed();
    if heard.starts_with(GREETING) && heard.ends_with(b"x") {
        return Ok(took);
    }
    Err(io::Error::other("what answers at the gate's port is not what was put there"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn finds_the_port() {
        let table = "Hub -1 (wire):\n  Protocol[State]    FD  Source Address  Port   Dest. Address\n  \
                     TCP[HOST_FORWARD]   3       127.0.0.1 34345       10.0.2.15  4040     0     0\n";
        assert_eq!(forwarded(table), Some(34345));
        assert_eq!(forwarded("Hub -1 (wire):\n"), None);
    }

    #[test]
    fn only_the_byte_itself_is_an_echo() {
        for (answer, is_echo) in [(&b"this is gate\nx"[..], true), (b"this is gate\ny", false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let end = listener.local_addr().unwrap();
            let guest = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0]).unwrap();
                stream.write_all(answer).unwrap();
            });
            assert_eq!(echo(end).is_ok(), is_echo, "{answer:?}");
            guest.join().unwrap();
        }
    }
}
