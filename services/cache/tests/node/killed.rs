//! The program as PID 1 runs it, killed while it adds: what was answered is there, and what was not is whole or
//! not there.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use iroh_blobs::Hash;
use octet_node::as_pid_1::pass;
use octet_node::control::file::{FileArg, Source};
use serde_json::json;
use tempfile::TempDir;

use crate::host::{LOOPBACK, bytes, path};
use crate::request::get;
use crate::verbs::{add, args, callers, connect};

/// How often it is killed.
const KILLS: u64 = 6;

/// How long what is being added then is: some parts of a file.
const LENGTH: usize = 400_000;

struct Running {
    child: Child,
    socket: PathBuf,
    http: SocketAddr,
}

impl Running {
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also if the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &Path, round: u64) -> Running {
    let socket = folder.join(format!("{round}.sock"));
    let control = UnixListener::bind(&socket).unwrap();
    let http = TcpListener::bind(LOOPBACK).unwrap();
    let at = http.local_addr().unwrap();
    let state = folder.join("state");
    fs::create_dir_all(&state).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_octet-cache"));
    command
        .env_clear()
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "control:http")
        .env("OCTET_CALLERS", callers())
        .env("STATE_DIRECTORY", state)
        .stderr(std::process::Stdio::null());
    pass(&mut command, &[control.as_fd(), http.as_fd()]).unwrap();
    Running { child: command.spawn().unwrap(), socket, http: at }
}

/// A file whose reader is told when it has come to a place.
struct Told<'a> {
    bytes: &'a [u8],
    /// Called at the first byte that is at this place or later.
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

#[test]
fn at_any_part_of_a_file() {
    let folder = TempDir::new().unwrap();
    let mut kept: Vec<Vec<u8>> = vec![];
    for round in 0..KILLS {
        let mut running = start(folder.path(), round);
        // What was answered before is there, byte by byte.
        for all in &kept {
            assert!(get(running.http, &path(Hash::new(all)), &[]).body == *all, "round {round}");
        }
        let mut client = connect(&running.socket);
        for length in [10, 50_000] {
            let all = bytes(length, 100 + round);
            add(&mut client, &all).unwrap();
            kept.push(all);
        }
        let cut = bytes(LENGTH, 200 + round);
        let child = &mut running.child;
        let place = LENGTH / KILLS as usize * round as usize;
        // The last kill follows the last byte: it may have been kept, or not.
        let mut file = Told { bytes: &cut, at: Some((place, Box::new(|| child.kill().unwrap()))) };
        let size = args(json!({ "file": { "size": cut.len() } }));
        let answered = client.call_with("add", size, Some(&mut file), |_| true);
        assert!(answered.is_err(), "round {round}");
        drop(file);
        running.kill();
    }
    // And one that is killed as soon as it has answered.
    let mut running = start(folder.path(), KILLS);
    let last = bytes(LENGTH, 300);
    add(&mut connect(&running.socket), &last).unwrap();
    running.kill();
    kept.push(last);
    let running = start(folder.path(), KILLS + 1);
    let listed = connect(&running.socket).call("ls", args(json!({}))).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), kept.len(), "{listed}");
    let at = running.http;
    thread::scope(|scope| {
        for all in &kept {
            scope.spawn(move || assert!(get(at, &path(Hash::new(all)), &[]).body == *all));
        }
    });
    // Nothing is left of what was cut off.
    let temp = folder.path().join("state/store/temp");
    assert_eq!(fs::read_dir(temp).unwrap().count(), 0);
}
