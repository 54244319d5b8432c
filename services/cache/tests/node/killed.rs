//! The program as PID 1 runs it, killed during additions: acknowledged objects are there, and
//! others are complete or absent. [`names`](crate::names) kills publishers.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use iroh_blobs::Hash;
use octet_as_pid_1::pass_fds;
use octet_node::control::file::{FileArg, Source};
use serde_json::json;
use tempfile::TempDir;

use crate::host::{LOOPBACK, bytes, path};
use crate::request::{ask, get};
use crate::verbs::{add, args, callers, connect};

/// The number of kills while a file arrives.
const PARTS: u64 = 6;

/// The number of kills while a received file is stored.
const ENDS: u64 = 8;

/// The size of the objects that are added then: several parts of a file.
const LENGTH: usize = 400_000;

/// Whether the long variants of the tests run.
pub fn soak() -> bool {
    std::env::var_os("OCTET_SOAK").is_some()
}

/// A delay of some milliseconds that differs per round. It sets the moment of a kill, and is no
/// timeout.
pub fn moment(round: u64) -> Duration {
    let chance = bytes(2, round);
    Duration::from_micros(u64::from(chance[0]) * 32 + u64::from(chance[1]))
}

pub struct Running {
    pub child: Child,
    pub socket: PathBuf,
    pub http: SocketAddr,
}

impl Running {
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process ends even if the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program for the given round.
pub fn start(folder: &Path, round: u64) -> Running {
    let socket = folder.join(format!("{round}.sock"));
    let control = UnixListener::bind(&socket).unwrap();
    let http = TcpListener::bind(LOOPBACK).unwrap();
    let metrics = TcpListener::bind(LOOPBACK).unwrap();
    let at = http.local_addr().unwrap();
    let state = folder.join("state");
    fs::create_dir_all(&state).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_octet-cache"));
    command
        .env_clear()
        .env("LISTEN_FDS", "3")
        .env("LISTEN_FDNAMES", "control:http:metrics")
        .env("OCTET_CALLERS", callers())
        .env("STATE_DIRECTORY", state)
        .stderr(std::process::Stdio::null());
    pass_fds(&mut command, &[control.as_fd(), http.as_fd(), metrics.as_fd()]).unwrap();
    Running { child: command.spawn().unwrap(), socket, http: at }
}

/// A file that calls a function when its reader reaches a position.
struct Told<'a> {
    bytes: &'a [u8],
    /// Called at the first read at or after this position.
    at: Option<(usize, Box<dyn FnOnce() + 'a>)>,
}

impl Source for Told<'_> {
    fn describe(&self) -> FileArg {
        FileArg::default()
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let is_there = |(place, _): &mut (usize, _)| at as usize >= *place;
        if let Some((_, tell)) = self.at.take_if(is_there) {
            tell();
        }
        let rest = self.bytes.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Every listed object has the content that its hash names.
fn none_lies(running: &Running) -> usize {
    let mut client = connect(&running.socket);
    let (mut listed, mut wanted) = (0, json!({}));
    // An answer has at most 500 rows.
    loop {
        let lines = client.call("ls", args(wanted)).unwrap();
        let Some(last) = lines.as_array().unwrap().last() else { return listed };
        wanted = json!({ "after": last["hash"] });
        for line in lines.as_array().unwrap() {
            let hash: Hash = line["hash"].as_str().unwrap().parse().unwrap();
            let answer = get(running.http, &path(hash), &[]);
            let is_it = answer.code == 200 && Hash::new(&answer.body) == hash;
            assert!(is_it, "{line}: {}", answer.code);
            listed += 1;
        }
    }
}

#[test]
fn at_any_part_of_a_file_and_while_it_is_kept() {
    let kills = PARTS + if soak() { 200 } else { ENDS };
    let folder = TempDir::new().unwrap();
    let (mut kept, mut maybe) = (vec![], 0);
    for round in 0..kills {
        let mut running = start(folder.path(), round);
        let listed = none_lies(&running);
        assert!((kept.len()..=kept.len() + maybe).contains(&listed), "round {round}: {listed}");
        let mut client = connect(&running.socket);
        for length in [10, 50_000] {
            let all = bytes(length, 1000 + round);
            add(&mut client, &all).unwrap();
            kept.push(Hash::new(&all));
        }
        let cut = bytes(LENGTH, 2000 + round);
        let size = args(json!({ "file": { "size": cut.len() } }));
        let child = &mut running.child;
        let answered = thread::scope(|scope| {
            // First at parts of the file, and then at some moment after its last byte was sent.
            let (place, after) = match round.checked_sub(PARTS) {
                None => (LENGTH / PARTS as usize * round as usize, Duration::ZERO),
                Some(_) => (LENGTH, moment(round)),
            };
            let kill: Box<dyn FnOnce() + Send> = Box::new(move || {
                thread::sleep(after);
                child.kill().unwrap();
            });
            let told: Box<dyn FnOnce()> = match round < PARTS {
                true => kill,
                false => Box::new(|| drop(scope.spawn(kill))),
            };
            let mut file = Told { bytes: &cut, at: Some((place, told)) };
            client.call_with("add", size, Some(&mut file), |_| true)
        });
        match answered {
            Ok(_) => kept.push(Hash::new(&cut)),
            // A file that was sent completely may have been stored or not.
            Err(_) if round >= PARTS => maybe += 1,
            Err(_) => {}
        }
        assert!(answered.is_err() || round >= PARTS, "round {round}");
        running.kill();
    }
    // Another process is killed directly after its answer.
    let mut running = start(folder.path(), kills);
    let last = bytes(LENGTH, 300);
    add(&mut connect(&running.socket), &last).unwrap();
    running.kill();
    kept.push(Hash::new(&last));
    let running = start(folder.path(), kills + 1);
    let listed = none_lies(&running);
    assert!((kept.len()..=kept.len() + maybe).contains(&listed), "{listed}");
    for hash in &kept {
        // Acknowledged objects are there.
        assert_eq!(ask(running.http, "HEAD", &path(*hash), &[]).code, 200, "{hash}");
    }
    // No temporary file of an interrupted addition is left.
    let temp = folder.path().join("state/store/temp");
    assert_eq!(fs::read_dir(temp).unwrap().count(), 0);
}
