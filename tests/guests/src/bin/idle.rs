//! The trivial unit of the comparison of supervisors: puts itself on the roll and waits for ever.

use std::path::Path;

use octet_guests::roll::{ROLL, Start};

/// The file in a unit's folder that makes an output of the unit one to s6. There it has a 1.
const S6_NOTIFICATION: &str = "notification-fd";

/// Its number is its argument, or else the name of the folder that its supervisor starts it in: s6
/// and runit start a program without arguments, so that no other program need come before it.
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
    // s6 alone restarts a unit without a pause only if that has told it, by a line on this output,
    // when it was ready.
    if Path::new(S6_NOTIFICATION).exists() {
        println!();
    }
    loop {
        rustix::event::pause();
    }
}
