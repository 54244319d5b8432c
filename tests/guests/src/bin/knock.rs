//! Tests ports: `knock all|none PROTOCOL/ADDRESS:PORT ...` succeeds if all of them answer, or none.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A timeout that an existing service on the same machine never reaches.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The timeout for expected silence.
const SILENCE: Duration = Duration::from_secs(3);

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().is_some_and(|word| word == "all");
    let patience = if wanted { TIMEOUT } else { SILENCE };
    let mut wrong = vec![];
    for door in arguments {
        let (protocol, address) = door.split_once('/').unwrap_or(("", ""));
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let answers = match protocol {
            "tcp" => tcp(address, patience),
            _ => udp(address, patience),
        };
        eprintln!("{door}: {answers:?}");
        if answers.is_ok() != wanted {
            wrong.push(door);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(io::Error::other(wrong.join(", "))) }
}

fn tcp(address: SocketAddr, patience: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.read_exact(&mut [0])
}

fn udp(address: SocketAddr, patience: Duration) -> io::Result<()> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send_to(b"knock", address)?;
    socket.recv_from(&mut [0; 16]).map(drop)
}
