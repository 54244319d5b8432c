//! A daemon of somebody's own, as `[[service]]` adds it: says that it is ready, and stays.

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
