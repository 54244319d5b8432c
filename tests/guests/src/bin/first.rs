//! The first program of a guest with another root, such as OpenWrt's: it loads the kernel modules
//! in `/octet`, renames the network cards to a router's names, serves a shell at the control port,
//! and executes the init of the root.
//!
//! `octet.cards=lan1,lan2,wan` on the kernel command line has the names, in the order of the cards.
//! At the control port each line is a command for the root's shell, as JSON; the answer is its exit
//! status and its output.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;
use serde_json::json;

const MODULES: &str = "/octet/modules";
const CARDS: &str = "octet.cards=";
const PORTS: &str = "/sys/class/virtio-ports";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn main() {
    let done = match env::args().nth(1) {
        Some(port) => shell(Path::new(&port)),
        None => first(),
    };
    if let Err(error) = done {
        eprintln!("first: {error}");
        std::process::exit(1);
    }
}

fn first() -> io::Result<()> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(place)?;
        mount(kind, place, kind, MountFlags::empty(), None::<&std::ffi::CStr>)?;
    }
    let line = fs::read_to_string("/proc/cmdline")?;
    load()?;
    let cards = line.split_whitespace().find_map(|it| it.strip_prefix(CARDS)).unwrap_or_default();
    for (number, name) in cards.split(',').filter(|it| !it.is_empty()).enumerate() {
        let mut ip = Command::new("ip");
        ip.args(["link", "set", "dev", &format!("eth{number}"), "name", name]).env("PATH", PATH);
        let status = ip.status().map_err(|error| io::Error::other(format!("ip: {error}")))?;
        if !status.success() {
            return Err(io::Error::other(format!("eth{number} cannot be called {name}: {status}")));
        }
    }
    let me = env::current_exe()?;
    Command::new(me).arg(port()?).stdin(Stdio::null()).spawn()?;
    // The userland is unpacked already: nothing must be mounted over it.
    let init = Command::new("/sbin/init").env("INITRAMFS", "1").env("PATH", PATH).exec();
    Err(io::Error::other(format!("/sbin/init: {init}")))
}

/// Loads all modules, and retries those that depend on others.
fn load() -> io::Result<()> {
    let mut left: Vec<PathBuf> =
        fs::read_dir(MODULES)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    left.sort();
    while !left.is_empty() {
        let before = left.len();
        let mut last = None;
        left.retain(|path| match File::open(path).map(|file| finit_module(file, c"", 0)) {
            Ok(Ok(())) | Ok(Err(rustix::io::Errno::EXIST)) => false,
            Ok(Err(error)) => {
                last = Some(format!("{}: {error}", path.display()));
                true
            }
            Err(error) => {
                last = Some(format!("{}: {error}", path.display()));
                true
            }
        });
        if left.len() == before {
            return Err(io::Error::other(last.unwrap_or_default()));
        }
    }
    Ok(())
}

fn port() -> io::Result<PathBuf> {
    let found = fs::read_dir(PORTS)?.flatten().next();
    let found = found.ok_or_else(|| io::Error::other("there is no control port"))?;
    Ok(Path::new("/dev").join(found.file_name()))
}

fn shell(port: &Path) -> io::Result<()> {
    let mut port = OpenOptions::new().read(true).write(true).open(port)?;
    let mut lines = BufReader::new(port.try_clone()?);
    let mut line = String::new();
    loop {
        line.clear();
        // No client has the other end open.
        if lines.read_line(&mut line)? == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            continue;
        }
        let command: String = serde_json::from_str(&line)?;
        let mut shell = Command::new("/bin/sh");
        let output = shell.args(["-c", &command]).env("PATH", PATH).stdin(Stdio::null()).output();
        let output = output.map_err(|error| io::Error::other(format!("/bin/sh: {error}")))?;
        let said = [output.stdout, output.stderr].concat();
        let (status, said) = (output.status.code(), String::from_utf8_lossy(&said));
        port.write_all(format!("{}\n", json!({ "status": status, "said": said })).as_bytes())?;
    }
}
