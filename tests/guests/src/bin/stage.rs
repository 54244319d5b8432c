//! The first stage of a guest whose supervisor does not mount what every system has: the same for
//! each of them, and the least that they need. Then it becomes the program that the file with its
//! own name and the ending `.argv` names, one argument a line; an empty file is the end.
//!
//! It also stands where a supervisor wants a script to start another program: there is no shell in
//! these guests.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::mount::{MountFlags, mount};

/// A kernel gives its init no PATH, and supervisors find their own programs with it.
const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

fn main() -> io::Result<()> {
    if std::process::id() == 1 {
        for (kind, target) in
            [(c"proc", c"/proc"), (c"sysfs", c"/sys"), (c"devtmpfs", c"/dev"), (c"tmpfs", c"/run")]
        {
            mount(kind, target, kind, MountFlags::NOSUID, c"")?;
        }
    }
    let own = std::env::args().next().unwrap_or_default();
    let list = fs::read_to_string(format!("{own}.argv"))?;
    let mut words = list.lines();
    let Some(program) = words.next() else { return Ok(()) };
    Err(Command::new(program).args(words).env("PATH", PATH).exec())
}
