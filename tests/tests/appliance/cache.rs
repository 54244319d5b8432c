//! Objects on a board: added by an operator, downloaded over HTTP from the link, and still there
//! after a kill.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Instant;

use octet_appliance::SETTINGS;
use octet_control::file::{FOLDER, LocalFile};
use octet_machine::panel::Host;
use octet_machine::{Machine, Status, UnitState};
use octet_tests::{Bytes, DiskFile, READY, RETRY_DELAY, Remake, SOON, USED, shipped};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::net::guest::{BOX, BOX_LINK, TEST, kill_unit};

const HTTP: u16 = 8080;

/// Larger than a part of a file and than the memory cache, and not a multiple of any block size.
const LENGTH: usize = 300_001;

const PLAYLIST: &str = "#EXTM3U\n#EXTINF:10,\nparts/1.ts\n#EXT-X-ENDLIST\n";

/// The settings of a board in a box, with the permitted clients.
fn settings() -> Value {
    let line = json!({ "from": ["lan"], "to": "boards", "protocol": "tcp", "ports": [HTTP] });
    json!({
        "appliance": { "name": "octet" }, "cluster": { "boards": 4 }, "lan": {}, "policy": [line],
    })
}

/// The status line of the response to a request for `path`, and its body.
fn get(host: &Host, path: &str, range: &str) -> (String, Vec<u8>) {
    let at = SocketAddr::new(BOX_LINK.parse::<IpAddr>().unwrap(), HTTP);
    let mut stream = host.connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{range}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = vec![];
    stream.read_to_end(&mut all).expect("late: the answer");
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    (head.lines().next().unwrap().to_owned(), all[end + 4..].to_vec())
}

/// The answer of `stats`.
fn stats(machine: &Machine) -> Value {
    machine.call_unit("cache", "stats", json!({})).unwrap()
}

fn is_ready(status: &Status) -> bool {
    status.unit("cache").unwrap().state == UnitState::Ready
}

#[test]
fn an_object_is_added_had_by_http_and_survives_a_kill() {
    let shipped = shipped();
    let image =
        Remake::of(&shipped).file(SETTINGS, 0o644, settings().to_string().into_bytes()).image();
    let disk = DiskFile::flashed(&shipped, USED);
    let machine = image.machine().nic(BOX).kernel_argument("octet.board=2");
    let machine = machine.disk(disk.disk()).start().unwrap();
    machine.wait_ready(READY).unwrap();
    let ours = ["fe80::2"].map(|address| (address.parse().unwrap(), 64));
    let host = Host::start(machine.port(0).unwrap(), TEST, &ours);

    let bytes: Vec<u8> = (0..LENGTH).map(|at| (at * at / 251 + at) as u8).collect();
    let added = machine.send_file("cache", "add", "file", &mut Bytes(bytes.clone())).unwrap();
    assert_eq!(added["size"], LENGTH);
    let path = added["path"].as_str().unwrap().to_owned();
    let unknown = format!("/b/{}", "0".repeat(64));
    // The same content as a part of a film, in a folder of this host.
    let film = TempDir::new().unwrap();
    fs::create_dir(film.path().join("parts")).unwrap();
    fs::write(film.path().join("film.m3u8"), PLAYLIST).unwrap();
    fs::write(film.path().join("parts/1.ts"), &bytes).unwrap();
    let mut archive = LocalFile::open_folder(film.path()).unwrap();
    let added =
        machine.send_file_with("cache", "add", json!({ FOLDER: true }), "file", &mut archive);
    let folder = added.unwrap()["path"].as_str().unwrap().to_owned();
    let is_served = || {
        let (line, body) = get(&host, &path, "");
        assert!(line == "HTTP/1.1 200 OK" && body == bytes, "{line}: {} bytes", body.len());
        let (line, body) = get(&host, &path, "Range: bytes=100-70000\r\n");
        assert!(line.starts_with("HTTP/1.1 206 ") && body == bytes[100..=70_000], "{line}");
        let (_, body) = get(&host, &format!("{folder}film.m3u8"), "");
        assert_eq!(body, PLAYLIST.as_bytes());
        let (_, body) = get(&host, &format!("{folder}parts/1.ts"), "");
        assert!(body == bytes, "{} bytes", body.len());
        let (line, _) = get(&host, &unknown, "");
        assert!(line.starts_with("HTTP/1.1 404 "), "{line}");
    };
    is_served();

    // The endpoint opens within its sandbox, with the certified key.
    let deadline = Instant::now() + SOON;
    while stats(&machine)["key"].is_null() {
        assert!(Instant::now() < deadline, "late: a key: {:#?}", machine.logs("cache").unwrap());
        sleep(RETRY_DELAY);
    }
    let idle = machine.status().unwrap().unit("cache").and_then(|unit| unit.memory);
    println!("{idle:?} bytes, {}", stats(&machine));

    kill_unit(&machine, "cache", || {});
    is_served();
    // On SIGTERM it closes its files and ends.
    machine.call("stop", json!({ "unit": "cache" })).unwrap();
    let is_stopped = |status: &Status| status.unit("cache").unwrap().state == UnitState::Stopped;
    let stopped = machine.wait_status("it is stopped", SOON, is_stopped).unwrap();
    println!("{:?}", stopped.unit("cache"));
    machine.call("start", json!({ "unit": "cache" })).unwrap();
    machine.wait_status("it is back", SOON, is_ready).unwrap();
    is_served();
    let listed = machine.call_unit("cache", "ls", json!({})).unwrap();
    // The object is also in the folder, which has a playlist and two objects of its own.
    let listed = listed.as_array().unwrap();
    assert!(listed.len() == 4 && listed.iter().any(|row| row["path"] == *path), "{listed:?}");
}

/// The number of small objects: if they were in the database, 6300 of them would use up the unit's
/// memory.
const SMALL: usize = 7000;

/// The size of the disk in MiB; three quarters of it are for objects.
const MIB: u64 = 1024;

/// The read rate of cheap flash, in bytes per second.
const SLOW: u64 = 20_000_000;

#[test]
#[ignore = "long: `services/cache/tests/node/small.rs` measures the program, without the limits of its unit"]
fn thousands_of_small_objects_and_a_power_cut() {
    let shipped = shipped();
    let image =
        Remake::of(&shipped).file(SETTINGS, 0o644, settings().to_string().into_bytes()).image();
    let disk = DiskFile::flashed(&shipped, MIB);
    let boot = || {
        let machine = image.machine().kernel_argument("octet.board=2").disk(disk.disk());
        let machine = machine.start().unwrap();
        let disks = machine.qmp("query-block", json!({})).unwrap();
        let disks = disks.as_array().unwrap().iter().filter(|it| !it["inserted"].is_null());
        for disk in disks {
            let limit = json!({
                "id": disk["qdev"], "bps": 0, "bps_rd": SLOW, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
            });
            machine.qmp("block_set_io_throttle", limit).unwrap();
        }
        machine.wait_ready(READY).unwrap();
        machine
    };
    let is_well = |machine: &Machine, objects: usize| {
        let status = machine.wait_status("it is ready", SOON, is_ready).unwrap();
        let unit = status.unit("cache").unwrap();
        println!("{unit:?}, {}", stats(machine));
        assert_eq!(unit.restarts, 0, "{}", machine.tail(20));
        assert_eq!(stats(machine)["objects"], objects);
    };
    let object = |number: usize| {
        let mut bytes = vec![7; 12 << 10];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Bytes(bytes)
    };
    let machine = boot();
    for number in 0..SMALL {
        machine.send_file("cache", "add", "file", &mut object(number)).unwrap();
    }
    is_well(&machine, SMALL);
    machine.kill().unwrap();
    drop(machine);

    let machine = boot();
    is_well(&machine, SMALL);
    machine.send_file("cache", "add", "file", &mut object(SMALL)).unwrap();
    is_well(&machine, SMALL + 1);
}
