//! Attempts an action that a sandbox or a limit may forbid, and prints the result: `NAME: done`, or
//! `NAME: denied(WHY)`. The arguments are the name of the attempt, and its parameters.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use octet_node::control::{CallError, Client, SOCKETS};
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, geteuid, getpid, pidfd_getfd, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Map;

/// The result of an attempt.
enum Outcome {
    Done,
    Denied(String),
}

use Outcome::{Denied, Done};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        // Not an attempt: the child process of `setuid`.
        ["who"] => return println!("{}", geteuid().as_raw()),
        // Not an attempt: the peer of `connect`.
        ["listen", name] => listen(name).into(),
        ["connect", name] => connect(name).into(),
        ["raw-socket"] => {
            socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).map(drop).into()
        }
        ["setuid", program] => setuid(program),
        ["look-into-process"] => look_into_process().into(),
        ["queue", name] => queue(name),
        // Not an attempt: connects to a unit's socket `count` times without sending anything.
        ["crowd", unit, count] => crowd(unit, number(count)).into(),
        ["read", path] => fs::read(path).map(drop).into(),
        ["open", path] => File::open(path).map(drop).into(),
        ["write", path] => File::options().append(true).create(true).open(path).map(drop).into(),
        ["keep"] => keep("STATE_DIRECTORY"),
        ["remember"] => keep("RUNTIME_DIRECTORY"),
        ["interface", name] => interface(name),
        ["call", unit, verb] => call(unit, verb),
        ["memory", mib] => memory(number(mib)),
        ["threads", count] => threads(number(count)),
        ["files", count] => files(number(count)),
        ["processor", percent] => processor(number(percent)),
        ["disk", mib] => disk(number(mib)),
        _ => Denied("there is no such try".into()),
    };
    let name = args.first().unwrap_or(&"?");
    match outcome {
        Done => println!("{name}: done"),
        Denied(why) => println!("{name}: denied({why})"),
    }
}

impl From<io::Result<()>> for Outcome {
    fn from(result: io::Result<()>) -> Self {
        match result {
            Ok(()) => Done,
            Err(error) => Denied(error.to_string()),
        }
    }
}

impl From<rustix::io::Result<()>> for Outcome {
    fn from(result: rustix::io::Result<()>) -> Self {
        result.map_err(io::Error::from).into()
    }
}

/// `Denied` with the reached number, unless it is enough.
fn unless(enough: bool, reached: String) -> Outcome {
    if enough { Done } else { Denied(reached) }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// Tries whether a set-user-ID program of root runs as root.
fn setuid(program: &str) -> Outcome {
    match Command::new(program).arg("who").output() {
        Ok(output) => {
            let who = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            unless(who == "0", format!("runs as {who}"))
        }
        Err(error) => Err(error).into(),
    }
}

/// Takes a descriptor from a process, its own one: if the system call works at all, that is
/// permitted.
fn look_into_process() -> rustix::io::Result<()> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    pidfd_getfd(own.as_fd(), 0, PidfdGetfdFlags::empty()).map(drop)
}

/// Writes to the folder in this variable.
fn keep(folder: &str) -> Outcome {
    match env::var(folder) {
        Ok(folder) => fs::write(format!("{folder}/kept"), "kept").into(),
        Err(_) => Denied(format!("no {folder}")),
    }
}

fn interface(name: &str) -> Outcome {
    let list = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let mut names = list.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    unless(names.any(|it| it == name), "not there".into())
}

/// Listens on an abstract address until it is killed.
fn listen(name: &str) -> io::Result<()> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    octet_node::notify_ready()?;
    loop {
        listener.accept()?;
    }
}

fn connect(name: &str) -> io::Result<()> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop)
}

/// The mount point of the POSIX message queues.
const QUEUES: &str = "/tmp/queues";

/// Tries whether there is a queue `name`. If `MAKES` is set, the queue is created first; if that is
/// `and-stays`, the program keeps running until it is killed.
fn queue(name: &str) -> Outcome {
    let path = format!("{QUEUES}/{name}");
    let seen = || -> io::Result<()> {
        fs::create_dir(QUEUES)?;
        mount("mqueue", QUEUES, "mqueue", MountFlags::empty(), None)?;
        let makes = env::var("MAKES").unwrap_or_default();
        if !makes.is_empty() {
            File::create(&path)?;
        }
        if makes == "and-stays" {
            octet_node::notify_ready()?;
            loop {
                thread::park();
            }
        }
        File::open(&path).map(drop)
    };
    seen().into()
}

fn crowd(unit: &str, count: u64) -> io::Result<()> {
    let path = format!("{SOCKETS}/{unit}.sock");
    let _all = (0..count).map(|_| UnixStream::connect(&path)).collect::<io::Result<Vec<_>>>()?;
    octet_node::notify_ready()?;
    loop {
        thread::park();
    }
}

fn call(unit: &str, verb: &str) -> Outcome {
    let path = format!("{SOCKETS}/{unit}.sock");
    let mut client = match Client::connect(path.as_ref()) {
        Ok(client) => client,
        Err(CallError::Connect { source, .. }) => return Err(source).into(),
        Err(error) => return Denied(error.to_string()),
    };
    match client.call(verb, Map::new()) {
        Ok(_) => Done,
        Err(CallError::Failure(failure)) => Denied(format!("{:?}", failure.code)),
        Err(error) => Denied(error.to_string()),
    }
}

/// A process above the limit is killed: the result is then the end of the unit.
fn memory(mib: u64) -> Outcome {
    let taken: Vec<Vec<u8>> = (0..mib).map(|_| vec![1; 1 << 20]).collect();
    unless(taken.iter().all(|piece| piece[piece.len() / 2] == 1), "wrong".into())
}

fn threads(count: u64) -> Outcome {
    let (keep, running) = channel::<()>();
    let mut all = vec![];
    let running = std::sync::Arc::new(std::sync::Mutex::new(running));
    let mut result = Ok(());
    for _ in 0..count {
        let running = std::sync::Arc::clone(&running);
        let body = move || drop(running.lock().map(|it| it.recv()));
        match thread::Builder::new().stack_size(64 << 10).spawn(body) {
            Ok(thread) => all.push(thread),
            Err(error) => result = Err(error),
        }
    }
    drop(keep);
    all.into_iter().for_each(|thread| drop(thread.join()));
    result.into()
}

fn files(count: u64) -> Outcome {
    let all: io::Result<Vec<File>> = (0..count).map(|_| File::open("/dev/null")).collect();
    all.map(drop).into()
}

/// Uses the CPU for at most eight seconds, and reports whether it got more than `percent` of a CPU
/// in one of them. A single second proves nothing, because a busy host may have paused the guest,
/// or other units may have run.
fn processor(percent: u64) -> Outcome {
    let used = || clock_gettime(ClockId::ProcessCPUTime);
    let share = || {
        let (start, before) = (Instant::now(), used());
        while start.elapsed() < Duration::from_secs(1) {
            std::hint::spin_loop();
        }
        let (now, took) = (used(), start.elapsed());
        let nanos = (now.tv_sec - before.tv_sec) * 1_000_000_000 + (now.tv_nsec - before.tv_nsec);
        u64::try_from(nanos).unwrap_or(0) * 100 / took.as_nanos().max(1) as u64
    };
    let mut most = 0;
    for _ in 0..8 {
        most = most.max(share());
        if most > percent {
            return Done;
        }
    }
    Denied(format!("{most} %"))
}

/// Writes to the disk for six seconds, or `SECONDS`, and reports whether more than `mib` MiB were
/// written.
fn disk(mib: u64) -> Outcome {
    let seconds = env::var("SECONDS").map_or(6, |seconds| number(&seconds));
    let written = || -> io::Result<u64> {
        let folder = env::var("STATE_DIRECTORY").map_err(io::Error::other)?;
        let mut file = File::create(format!("{folder}/written"))?;
        let (start, piece) = (Instant::now(), vec![1; 256 << 10]);
        let mut written = 0;
        while start.elapsed() < Duration::from_secs(seconds) && written <= mib << 20 {
            file.write_all(&piece)?;
            file.sync_data()?;
            written += piece.len() as u64;
        }
        Ok(written)
    };
    match written() {
        Ok(written) => unless(written > mib << 20, format!("{} KiB", written >> 10)),
        Err(error) => Err(error).into(),
    }
}
