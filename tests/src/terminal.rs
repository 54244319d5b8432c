//! Programs in a terminal.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Starts `command` in a terminal of its own, and returns our end of that: what is written to it is
/// typed, and reading it fails once the program and its children have ended.
///
/// # Panics
/// The host refuses.
pub fn in_terminal(mut command: Command) -> (Child, File) {
    // Held by nobody else, or closing it would not end the terminal.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).expect("a terminal");
    grantpt(&ours).expect("a terminal");
    unlockpt(&ours).expect("a terminal");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let name = name.to_str().expect("its name in UTF-8");
    let theirs = File::options().read(true).write(true).open(name).expect("its other end");
    let end = || -> io::Result<Stdio> { Ok(OwnedFd::from(theirs.try_clone()?).into()) };
    for set in [Command::stdin, Command::stdout, Command::stderr] {
        set(&mut command, end().expect("a copy of it"));
    }
    // Only the child keeps the other end: `command` and `theirs` go here.
    let child = command.spawn().expect("the program starts");
    (child, File::from(ours))
}
