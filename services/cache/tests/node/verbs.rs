//! The whole service, called through its socket.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use iroh_blobs::Hash;
use octet_as_pid_1::{MemoryFile, Raw};
use octet_cache::{CacheConfig, run};
use octet_node::control::file::{MAX_CHUNK, MAX_WANT, MAX_WANTS};
use octet_node::control::{CallError, Client, FailureCode, ReplyBody};
use octet_node::{Callers, Peer};
use rustix::process::geteuid;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::host::{LOOPBACK, bytes, limits, path};
use crate::request::{TIMEOUT, get};

/// The permitted verbs of the test's user.
pub fn callers() -> String {
    format!(
        "{}=account-limit,add,config-apply,config-check,get,keep-status,ls,pin,public,publish,remove,resolve,stats,token,traffic,unpin",
        geteuid().as_raw()
    )
}

/// A client of the service that listens at `socket`.
pub fn connect(socket: &Path) -> Client<UnixStream> {
    let client = Client::connect(socket).unwrap();
    client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
    client
}

pub fn args(args: Value) -> Map<String, Value> {
    args.as_object().unwrap().clone()
}

/// Adds an object with the content `bytes`.
pub fn add(client: &mut Client<UnixStream>, bytes: &[u8]) -> Result<Value, CallError> {
    let mut file = MemoryFile(bytes.to_vec());
    let size = args(json!({ "file": { "size": bytes.len() } }));
    client.call_with("add", size, Some(&mut file), |_| true)
}

/// Starts the service, with a disk or without one.
pub fn start_at(folder: &TempDir, state: Option<PathBuf>) -> (PathBuf, SocketAddr) {
    start_with(folder, state, LOOPBACK)
}

/// Starts the service, which listens for other nodes at `address`.
pub fn start_with(
    folder: &TempDir,
    state: Option<PathBuf>,
    address: SocketAddr,
) -> (PathBuf, SocketAddr) {
    let socket = folder.path().join("cache.sock");
    let control = UnixListener::bind(&socket).unwrap();
    let http = TcpListener::bind(LOOPBACK).unwrap();
    let at = http.local_addr().unwrap();
    let parts = CacheConfig {
        limits: limits(),
        settings: None,
        folder: state,
        // No unit listens there: the service runs without the other units.
        sockets: folder.path().to_owned(),
        addresses: vec![address],
        http,
        metrics: TcpListener::bind(LOOPBACK).unwrap(),
        control,
        callers: Callers::parse(&callers()).unwrap(),
    };
    thread::spawn(move || run(parts, || Ok(())));
    (socket, at)
}

/// Answers the service's next question to `config` with these sections, and empty ones besides.
pub fn config(folder: &TempDir, cache: &Value, keep: &Value) -> JoinHandle<()> {
    config_with_policy(folder, cache, keep, &json!([]))
}

pub fn config_with_policy(
    folder: &TempDir,
    cache: &Value,
    keep: &Value,
    policy: &Value,
) -> JoinHandle<()> {
    let path = folder.path().join("config.sock");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(path).unwrap();
    let sections = json!({
        "cache": cache, "appliance": { "name": "octet" }, "origin": [], "keep": keep, "cluster": null,
        "policy": policy, "neighbour": [], "accounts": null,
    });
    thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        let request = peer.next_request().unwrap().unwrap();
        assert_eq!(request.verb, "sections");
        peer.end(request.id, Ok(sections)).unwrap();
    })
}

#[test]
fn objects_are_added_listed_and_had() {
    let folder = TempDir::new().unwrap();
    let (socket, http) = start_at(&folder, Some(folder.path().join("state")));
    let mut client = connect(&socket);
    let mut hashes = vec![];
    // Lengths around the size of a part, and around the maximum size in the memory cache.
    for length in [0, 3, 16_385, 65_535, 65_536, 65_537, 300_000] {
        let all = bytes(length, 7);
        let hash = Hash::new(&all).to_hex().to_string();
        for _ in 0..2 {
            let added = add(&mut client, &all).unwrap();
            let expected = json!({ "hash": hash, "size": length, "path": format!("/b/{hash}") });
            assert_eq!(added, expected);
            assert_eq!(client.call("get", args(json!({ "hash": hash }))).unwrap(), expected);
        }
        assert!(get(http, &path(Hash::new(&all)), &[]).body == all, "{length}");
        hashes.push(hash);
    }
    hashes.sort();
    let listed = |client: &mut Client<UnixStream>, wanted: Value| -> Vec<String> {
        let rows = client.call("ls", args(wanted)).unwrap();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["hash"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&mut client, json!({})), hashes);
    assert_eq!(listed(&mut client, json!({ "most": 2 })), hashes[..2]);
    assert_eq!(listed(&mut client, json!({ "after": hashes[3] })), hashes[4..]);

    let code = |client: &mut Client<UnixStream>, verb: &str, wanted: Value| match client
        .call(verb, args(wanted))
        .unwrap_err()
    {
        CallError::Failure(failure) => failure.code,
        other => panic!("{other}"),
    };
    let unknown = "0".repeat(64);
    let public = |client: &mut Client<UnixStream>| {
        let rows = client.call("ls", args(json!({ "most": 1 }))).unwrap();
        rows[0]["public"].as_bool().unwrap()
    };
    assert!(!public(&mut client));
    client.call("public", args(json!({ "hash": hashes[0] }))).unwrap();
    assert!(public(&mut client));
    client.call("public", args(json!({ "hash": hashes[0], "off": true }))).unwrap();
    assert!(!public(&mut client));
    assert_eq!(code(&mut client, "public", json!({ "hash": unknown })), FailureCode::NotFound);
    assert_eq!(code(&mut client, "get", json!({ "hash": unknown })), FailureCode::NotFound);
    assert_eq!(code(&mut client, "get", json!({ "hash": "12" })), FailureCode::BadArgument);
    assert_eq!(code(&mut client, "ls", json!({ "after": "12" })), FailureCode::BadArgument);
    let stats = client.call("stats", Map::new()).unwrap();
    assert_eq!(stats["http_requests"], 7, "{stats}");
    assert!(stats["free"].as_u64().unwrap() > 0 && stats["nodes"] == json!([]), "{stats}");
    assert!(client.call("describe", Map::new()).unwrap().as_array().unwrap().len() == 22);
    // A pass over all objects.
    let rows = client.call("ls", Map::new()).unwrap();
    let rows = rows.as_array().unwrap();
    client.call("scrub", Map::new()).unwrap();
    let mut scrubbed = json!({ "state": "running" });
    while scrubbed["state"] == "running" {
        scrubbed = client.call("scrub-status", Map::new()).unwrap();
    }
    let size: u64 = rows.iter().map(|row| row["size"].as_u64().unwrap()).sum();
    assert_eq!((&scrubbed["objects"], &scrubbed["bytes"]), (&json!(rows.len()), &json!(size)));
    assert_eq!((&scrubbed["found"], &scrubbed["damaged"]), (&json!(0), &json!([])), "{scrubbed}");
    assert!(rows[0]["damaged"] == false && rows[0]["sealed"].is_boolean(), "{rows:?}");
    let numbers = client.call("metrics", Map::new()).unwrap();
    let numbers = numbers["text"].as_str().unwrap();
    assert!(numbers.contains("\noctet_cache_objects 7\n"), "{numbers}");
}

#[test]
fn a_file_that_is_cut_off_is_no_object() {
    let folder = TempDir::new().unwrap();
    let (socket, _) = start_at(&folder, Some(folder.path().join("state")));
    let all = bytes(300_000, 8);
    // The client disconnects in the middle.
    let (mut cut, mut file) = (connect(&socket), Cut(all.clone()));
    let size = args(json!({ "file": { "size": all.len() } }));
    assert!(cut.call_with("add", size, Some(&mut file), |_| true).is_err());
    drop(cut);
    let mut client = connect(&socket);
    let hash = Hash::new(&all).to_hex().to_string();
    assert!(client.call("get", args(json!({ "hash": hash }))).is_err());
    assert_eq!(client.call("ls", Map::new()).unwrap(), json!([]));
    assert_eq!(add(&mut client, &all).unwrap()["hash"], hash);
}

/// A client that does not answer requests for parts by itself.
fn raw(socket: &Path) -> Raw<UnixStream> {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    Raw::new(stream)
}

/// A path to the client of any latency costs one round trip for all parts in flight: the test sends
/// nothing before all of them are requested.
#[test]
fn a_file_is_asked_for_ahead() {
    let folder = TempDir::new().unwrap();
    let (socket, _) = start_at(&folder, Some(folder.path().join("state")));
    let mut client = raw(&socket);
    client.ask(1, "add", json!({ "file": {} }));
    let part = u64::from(MAX_WANT);
    let wants = client.wants(MAX_WANTS);
    assert_eq!(wants, (0..MAX_WANTS as u64).map(|number| number * part).collect::<Vec<_>>());
    // The file ends within the last of the requested parts.
    let length = wants[MAX_WANTS - 1] + 9;
    for at in (0..length).step_by(MAX_CHUNK) {
        client.chunk(1, at, (length - at).min(MAX_CHUNK as u64) as usize);
    }
    client.chunk(1, length, 0);
    // Each received part was followed by a request, which is beyond the end now.
    let added = loop {
        match client.reply().body {
            ReplyBody::Want(want) => client.chunk(1, want.at, 0),
            ReplyBody::End(added) => break added,
            other => panic!("{other:?}"),
        }
    };
    let hash = Hash::new(vec![7; length as usize]).to_hex().to_string();
    assert_eq!((&added["hash"], &added["size"]), (&json!(hash), &json!(length)));
}

/// The data that the gate has to buffer is limited: two files are requested ahead, others part by
/// part.
#[test]
fn all_files_share_what_is_in_flight() {
    let folder = TempDir::new().unwrap();
    let (socket, _) = start_at(&folder, Some(folder.path().join("state")));
    // Counts the requested parts: the answer to another call arrives after them.
    let begin = || {
        let mut client = raw(&socket);
        client.ask(1, "add", json!({ "file": {} }));
        let mut count = 0;
        while let ReplyBody::Want(_) = client.reply().body {
            count += 1;
            if count == 1 {
                client.ask(2, "ls", json!({}));
            }
        }
        (client, count)
    };
    let mut begun = [begin(), begin(), begin()];
    assert_eq!(begun.each_ref().map(|(_, count)| *count), [MAX_WANTS, MAX_WANTS, 1]);
    // A completed file returns its permits.
    let (client, _) = &mut begun[0];
    for number in 0..MAX_WANTS as u64 {
        client.chunk(1, number * u64::from(MAX_WANT), 0);
    }
    assert!(matches!(client.reply().body, ReplyBody::End(_)));
    assert_eq!(begin().1, MAX_WANTS);
}

/// Parts in the wrong order create no object, and the client receives an error.
#[test]
fn a_file_out_of_order_is_no_object() {
    let folder = TempDir::new().unwrap();
    let (socket, _) = start_at(&folder, Some(folder.path().join("state")));
    let mut client = raw(&socket);
    client.ask(1, "add", json!({ "file": { "size": 200_000 } }));
    client.wants(4);
    client.chunk(1, 0, 9);
    client.chunk(1, u64::from(MAX_WANT), 9);
    let failure = client.failure();
    assert_eq!(failure.code, FailureCode::BadRequest);
    assert_eq!(failure.message, "byte 65536 of the file came where byte 9 was next");
    // The connection is still usable.
    client.ask(2, "ls", json!({}));
    assert_eq!(client.reply().body, ReplyBody::End(json!([])));
}

/// A file whose reading fails in the middle.
struct Cut(Vec<u8>);

impl octet_node::control::file::Source for Cut {
    fn describe(&self) -> octet_node::control::file::FileArg {
        octet_node::control::file::FileArg::default()
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        if at >= 150_000 {
            return Err(std::io::Error::other("the stick was pulled out"));
        }
        let rest = &self.0[at as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

#[test]
fn without_a_disk_it_says_so() {
    let folder = TempDir::new().unwrap();
    let (socket, http) = start_at(&folder, None);
    let answer = get(http, &path(Hash::new(b"x")), &[]);
    assert!(answer.code == 503 && answer.text().contains("no disk"), "{answer:?}");
    let mut client = connect(&socket);
    for verb in ["ls", "stats"] {
        let error = client.call(verb, Map::new()).unwrap_err();
        assert!(error.to_string().contains("no disk"), "{error}");
    }
}
