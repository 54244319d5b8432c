//! A daemon that works until it is ordered to misbehave: by `be MODE`, or from the start by its
//! first argument. `ping` shows that it works.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use octet_guests::service::{Answer, notify, serve, unknown};
use octet_node::control::{INIT, SOCKETS};
use rustix::process::{Pid, Signal, getpid, kill_process, setsid};
use serde_json::{Map, Value, json};
use signal_hook::consts::{SIGHUP, SIGTERM};

/// Whether `WATCHDOG=1` is sent.
static NOTIFIES: AtomicBool = AtomicBool::new(true);

/// The bytes written by the flood.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let mode = env::args().nth(1).unwrap_or_default();
    let result = match mode.as_str() {
        "bomb" => bomb(),
        "middle" => child("grandchild").map(drop),
        "grandchild" => outlive(),
        "connect" => connect(),
        "stranger" => notify("READY=1\nWATCHDOG=1\nSTATUS=hijacked"),
        // No notification is sent to PID 1.
        "quiet" => serve(|| Ok(()), |request| answer(&request.verb, &request.args)),
        _ => serve(
            || {
                thread::spawn(feed_watchdog);
                notify("READY=1")
            },
            |request| answer(&request.verb, &request.args),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{mode}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn feed_watchdog() {
    let interval = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
    let Some(interval) = interval.map(Duration::from_micros) else { return };
    loop {
        if NOTIFIES.load(Ordering::Relaxed) && notify("WATCHDOG=1").is_err() {
            return;
        }
        thread::sleep(interval / 4);
    }
}

fn answer(verb: &str, args: &Map<String, Value>) -> Answer {
    let count = args.get("count").and_then(Value::as_u64).unwrap_or(1);
    match (verb, args.get("mode").and_then(Value::as_str)) {
        ("wrote", _) => Ok(json!(WRITTEN.load(Ordering::Relaxed))),
        ("ping", _) => Ok(args.get("n").cloned().unwrap_or_default()),
        ("be", Some(mode)) => match be(mode, count) {
            Ok(said) => Ok(said),
            Err(error) => Ok(json!({ "error": error.to_string() })),
        },
        _ => Err(unknown(verb)),
    }
}

fn be(mode: &str, count: u64) -> io::Result<Value> {
    match mode {
        "ready" => notify("READY=1")?,
        "fork-bomb" => drop(child("bomb")?),
        "memory-hog" => drop(thread::spawn(eat_memory)),
        "descriptor-hog" => return Ok(json!({ "held": hold_descriptors(count)? })),
        "log-flood" => drop(thread::spawn(flood)),
        "connect-hog" => {
            for _ in 0..count {
                drop(child("connect")?);
            }
        }
        "double-fork" => {
            for _ in 0..count {
                child("middle")?.wait()?;
            }
        }
        "ignore-term" => ignore(SIGTERM)?,
        "terminate-init" => kill_process(Pid::INIT, Signal::TERM)?,
        "stop-notifying" => NOTIFIES.store(false, Ordering::Relaxed),
        "notify-as-stranger" => drop(child("stranger")?.wait()?),
        "exit" => drop(thread::spawn(move || exit(i32::try_from(count).unwrap_or(1)))),
        // Rust's own handler only removes itself at the first signal.
        "crash" => loop {
            kill_process(getpid(), Signal::SEGV)?;
        },
        _ => return Err(io::Error::other("there is no such mode")),
    }
    Ok(Value::Null)
}

/// Starts this program as another process. Its output is discarded, because it would be logged as
/// the unit's.
fn child(mode: &str) -> io::Result<std::process::Child> {
    // The process gets its own name from the kernel, because the path is its own.
    Command::new(env::current_exe()?).arg(mode).stdin(Stdio::null()).spawn()
}

/// Forks until a limit is reached.
fn bomb() -> io::Result<()> {
    loop {
        if child("bomb").is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn eat_memory() {
    let mut eaten: Vec<Vec<u8>> = vec![];
    loop {
        // Writing to the pages allocates them.
        eaten.push(vec![1; 1 << 20]);
    }
}

fn hold_descriptors(most: u64) -> io::Result<usize> {
    let mut held = vec![];
    let problem = (0..most).find_map(|_| match File::open("/dev/null") {
        Ok(file) => {
            held.push(file);
            None
        }
        Err(error) => Some(error),
    });
    let count = held.len();
    // The descriptors stay open as long as the process runs.
    held.into_iter().for_each(std::mem::forget);
    match problem.and_then(|error| error.raw_os_error()) {
        Some(errno) if errno != rustix::io::Errno::MFILE.raw_os_error() => {
            Err(io::Error::from_raw_os_error(errno))
        }
        _ => Ok(count),
    }
}

/// Writes lines of 1 KiB as fast as possible.
fn flood() {
    let line = format!("{}\n", "flood ".repeat(170));
    let text = line.repeat(16);
    let mut output = io::stdout().lock();
    while output.write_all(text.as_bytes()).is_ok() {
        WRITTEN.fetch_add(text.len() as u64, Ordering::Relaxed);
    }
}

fn ignore(signal: i32) -> io::Result<()> {
    signal_hook::flag::register(signal, Arc::default()).map(drop)
}

/// Connects to PID 1's socket and disconnects, as fast as possible.
fn connect() -> io::Result<()> {
    let socket = Path::new(SOCKETS).join(format!("{INIT}.sock"));
    loop {
        // A refused connection is retried.
        drop(UnixStream::connect(&socket));
    }
}

/// Starts a new session, so that no signal to a terminal or a process group reaches the process,
/// and keeps running.
fn outlive() -> io::Result<()> {
    ignore(SIGTERM)?;
    ignore(SIGHUP)?;
    setsid()?;
    loop {
        thread::park();
    }
}
