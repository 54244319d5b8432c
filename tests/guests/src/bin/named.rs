//! A service that registers a name and its address at `lan`, and keeps running.

use std::env;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;

use octet_node::names::{NamesUpdate, ServiceNames, register};

/// The name is below that of the service's user, because it is an additional unit.
const NAME: &str = "extra-1.octet";

/// The announced address, which is that of board 1.
const ADDRESS: &str = "10.20.1.2";

fn main() -> std::io::Result<()> {
    let address: IpAddr = ADDRESS.parse().map_err(std::io::Error::other)?;
    let names = ServiceNames::from([(NAME.to_owned(), vec![address])]);
    let _kept = register("/run/octet/lan.sock".into(), names, |news| match news {
        NamesUpdate::Told => println!("lan tells my name"),
        NamesUpdate::Not(why) => println!("lan does not tell my name: {why}"),
    })?;
    if let Some(socket) = env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(b"READY=1", socket)?;
    }
    loop {
        std::thread::park();
    }
}
