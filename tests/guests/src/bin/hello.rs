//! A daemon for `[[service]]`: it reports readiness, and keeps running.

use std::os::unix::net::UnixDatagram;

fn main() -> std::io::Result<()> {
    println!("hello from a service of my own");
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
    }
    loop {
        std::thread::park();
    }
}
