//! A way that takes time: a proxy that forwards each byte half a round trip after it came.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use super::LOOPBACK;

/// How much is read at once, in bytes.
pub const READ: usize = 64 << 10;

/// How many such may be under way in one direction: 64 MiB, more than anybody here sends in a round trip.
const UNDER_WAY: usize = 1024;

/// Where `to` is reached by a way with this round trip.
///
/// # Errors
/// There is no port for it.
pub fn start(to: SocketAddr, round_trip: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(LOOPBACK)?;
    let at = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            // Whoever does not reach the other end sees its own close.
            let _ = connect(near, to, round_trip / 2);
        }
    });
    Ok(at)
}

fn connect(near: TcpStream, to: SocketAddr, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        // What waits here waits because of the delay, and not for more to come.
        to.set_nodelay(true)?;
        forward(from, to, delay);
    }
    Ok(())
}

/// Forwards one direction until either end closes.
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
