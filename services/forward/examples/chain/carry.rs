//! Bytes from one node to another, by TCP.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::Failed;

/// Where the last node listens.
const PORT: u16 = 7000;

/// What is written and read at once.
const PIECE: usize = 64 << 10;

/// The first packets of a way may be lost while its programs find each other: then it is tried again.
const CONNECTS: Duration = Duration::from_secs(5);

/// Less than the benchmark waits.
const LONGEST: Duration = Duration::from_secs(50);

/// Has whoever connects told how many bytes have come of him, from the calling thread's network.
pub fn listen() -> Result<(), Failed> {
    // Whoever comes by IPv4 too.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || count(stream));
        }
    });
    Ok(())
}

fn count(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LONGEST))?;
    let (mut piece, mut came) = (vec![0; PIECE], 0);
    while let count @ 1.. = stream.read(&mut piece)? {
        came += count as u64;
    }
    stream.write_all(&came.to_be_bytes())
}

/// Has so many bytes come to `end`.
pub fn to(end: IpAddr, bytes: u64) -> Result<(), Failed> {
    let mut stream = TcpStream::connect_timeout(&(end, PORT).into(), CONNECTS)?;
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_write_timeout(Some(LONGEST))?;
    let (piece, mut left) = (vec![b'o'; PIECE], bytes);
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        stream.write_all(&piece[..now])?;
        left -= now as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut came = [0; 8];
    stream.read_exact(&mut came)?;
    match u64::from_be_bytes(came) {
        came if came == bytes => Ok(()),
        came => Err(format!("of {bytes} bytes {came} have come").into()),
    }
}
