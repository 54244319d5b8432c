//! The trivial unit for the comparison of supervisors: it records its start, and sleeps forever.

use std::path::Path;

use octet_guests::roll::{ROLL, Start};

/// The file in a unit's folder with the descriptor for s6's readiness notification. It is 1 there.
const S6_NOTIFICATION: &str = "notification-fd";

/// The unit's number: the argument, or the name of the folder in which its supervisor starts it. s6
/// and runit start a program without arguments, so no wrapper is necessary.
fn number() -> Option<u64> {
    let named = std::env::args().nth(1);
    let name = named.or_else(|| {
        let folder = std::env::current_dir().ok()?;
        folder.file_name()?.to_str().map(str::to_owned)
    });
    name?.parse().ok()
}

fn main() -> std::io::Result<()> {
    Start::now(number().unwrap_or_default()).append(Path::new(ROLL))?;
    // s6 restarts a unit without a pause only if the unit has reported its readiness by a line on
    // this descriptor.
    if Path::new(S6_NOTIFICATION).exists() {
        println!();
    }
    loop {
        rustix::event::pause();
    }
}
