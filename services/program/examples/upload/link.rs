//! A link with latency: a proxy that forwards each byte after half a round trip.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use super::LOOPBACK;

/// The size of a read, in bytes.
pub const READ: usize = 64 << 10;

/// The maximum number of reads in flight per direction: 64 MiB, more than the benchmark sends
/// within a round trip.
const UNDER_WAY: usize = 1024;

/// Starts a proxy to `to` with this round trip time, and returns its address.
///
/// # Errors
/// No port is available.
pub fn start(to: SocketAddr, round_trip: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(LOOPBACK)?;
    let at = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            // If the target is unreachable, the client's connection is closed.
            let _ = connect(near, to, round_trip / 2);
        }
    });
    Ok(at)
}

fn connect(near: TcpStream, to: SocketAddr, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        // Nagle's algorithm would add to the configured delay.
        to.set_nodelay(true)?;
        forward(from, to, delay);
    }
    Ok(())
}

/// Forwards one direction until either side closes.
fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    thread::spawn(move || {
        let mut buffer = vec![0; READ];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
