//! The first stage of a guest whose supervisor does not mount the basic file systems: the same for
//! each of them, and the minimum that they need. Then it executes the program that the file with
//! its own name and the suffix `.argv` names, with one argument per line; an empty file ends it.
//!
//! It also replaces scripts by which a supervisor starts a program, because these guests have no
//! shell.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::mount::{MountFlags, mount};

/// The kernel passes no PATH to init, and supervisors need it to find their own programs.
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
