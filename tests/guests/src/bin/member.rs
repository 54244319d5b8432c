//! A unit of a large graph. It appends its events to a shared file, a line each, so the order of
//! the lines is the order of the events.

use std::env;
use std::fs::File;
use std::io::{self, Write};

use octet_guests::service::notify;
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

fn main() -> io::Result<()> {
    let name = env::var("OCTET_UNIT").map_err(io::Error::other)?;
    let path = env::args().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stop = Signals::new([SIGTERM])?;
    let mut file = File::options().append(true).create(true).open(path)?;
    let mut record = |what: &str| file.write_all(format!("{what} {name}\n").as_bytes());
    record("starts")?;
    if env::args().nth(2).as_deref() == Some("once") {
        return record("ready");
    }
    record("ready")?;
    notify("READY=1")?;
    stop.forever().next();
    record("stops")?;
    record("ended")
}
