//! An object on one board is available from the others, also to a device in the lan, when that
//! board is off and there is no uplink.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use octet_machine::panel::Port;
use octet_machine::panel::{Host, Mac};
use octet_machine::{FrameAction, Node, Socket};
use octet_tests::{Bytes, DiskFile, seed};
use serde_json::{Value, json};

use crate::cluster::owned::{BOARDS, LAN};
use crate::cluster::site::{Site, address};

/// Boards may fetch each other's objects; devices in the lan may download objects of boards over
/// HTTP.
pub const LINES: &str = r#"
[[policy]]
from = "boards"
to = "boards"
protocol = "udp"
ports = [4433]

[[policy]]
from = "lan"
to = "boards"
protocol = "tcp"
ports = [8080]
"#;

/// What all boards keep, and its hash in the settings. Without guests
/// `services/cache/tests/node/keep.rs` shows it.
const KEPT: &[u8] = b"it is kept\n";
pub const KEEP: &str = r#"
[[keep]]
object = "ccb6e0e923cb1034db9aa2972b806a8893fcf6acc5c34e298d6927ca118e0709"
copies = 3
"#;

/// A device of the owner's, and the router's address in its network.
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 77);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 1);

/// The ports of objects between boards, and over HTTP.
const OBJECTS: [u8; 2] = 4433_u16.to_be_bytes();
const HTTP: u16 = 8080;

const SIZE: usize = 2 << 20;

/// Whether a frame is UDP from or to the port of objects. Ethernet has 14 bytes; IPv4's protocol
/// field is at 9 of 20 bytes (the router drops options), IPv6's next header at 6 of 40.
fn is_of_objects(frame: &[u8]) -> bool {
    let ports = match (frame.get(12..14), frame.get(20), frame.get(23)) {
        (Some([0x08, 0x00]), _, Some(17)) => frame.get(34..38),
        (Some([0x86, 0xdd]), Some(17), _) => frame.get(54..58),
        _ => None,
    };
    ports.is_some_and(|ports| ports[..2] == OBJECTS || ports[2..] == OBJECTS)
}

/// The status line and the body of the response to the device at a board's gateway.
fn get(device: &Host, board: u8, path: &str, more: &str) -> (String, Vec<u8>) {
    let at = SocketAddr::new(IpAddr::V4(address(board)), HTTP);
    let mut stream = device.connect(at).unwrap_or_else(|error| panic!("late: {at}: {error}"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = vec![];
    // What cannot be read ends the connection early.
    let _ = stream.read_to_end(&mut said);
    let Some(end) = said.windows(4).position(|it| it == b"\r\n\r\n") else {
        return ("no head".to_owned(), vec![]);
    };
    let body = said.split_off(end + 4);
    let head = String::from_utf8(said).unwrap();
    (head.lines().next().unwrap().to_owned(), body)
}

/// The number of frames with objects that each socket has sent.
pub type Seen = Arc<Mutex<BTreeMap<Socket, usize>>>;

/// Counts frames with objects from now on, as long as the port exists.
pub fn count(site: &Site) -> (Seen, Port) {
    let seen = Seen::default();
    let sees = Arc::clone(&seen);
    site.cluster.watch(move |from, frame| {
        *sees.lock().unwrap().entry(from).or_default() += usize::from(is_of_objects(frame));
        FrameAction::Forward
    });
    // A silent listener at the uplink.
    (seen, site.cluster.attach(0, Socket::Router(0)).unwrap())
}

/// What boards 1 and 2 have.
pub struct AddedObject {
    bytes: Vec<u8>,
    /// The answers of `cache add` and `cache publish` on board 1.
    added: Value,
    published: Value,
}

impl AddedObject {
    /// Adds an object on board 1, and has board 2 fetch it and learn its name.
    pub fn on_two_boards(site: &Site) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed());
        let bytes: Vec<u8> = (0..SIZE).map(|_| chance.u8(..)).collect();
        let board = site.machine(Node::Board(1));
        let mut added = json!({});
        site.wait("board 1 has it", || {
            let sent = board.send_file("cache", "add", "file", &mut Bytes(bytes.clone()));
            sent.map(|answer| added = answer).is_ok()
        });
        println!("{added}");
        // Board 2 fetches it once the map has the key of board 1's cache.
        let hash = json!({ "hash": added["hash"] });
        let has_it =
            || site.machine(Node::Board(2)).call_unit("cache", "get", hash.clone()).is_ok();
        site.wait("board 2 has it", has_it);
        let published = publish(site, "site/it.bin", 86_400, &added).unwrap();
        println!("{published}");
        site.wait("board 2 knows the name", || {
            resolve(site, &published).is_some_and(|it| it["hash"] == added["hash"])
        });
        Self { bytes, added, published }
    }

    fn path(&self) -> &str {
        self.added["path"].as_str().unwrap()
    }

    /// Board 1 is off: a device in the lan has the object by `board`, which gets it and its name
    /// from board 2.
    pub fn is_had_while_board_1_is_off(&self, site: &Site, device: &Host, board: u8) {
        let mut found = (String::new(), vec![]);
        site.wait("the device has it", || {
            found = get(device, board, self.path(), "");
            println!("{}, {} bytes", found.0, found.1.len());
            // The transfer fails if a board was silent for too long meanwhile.
            found.0.contains(" 200 ") && found.1.len() == SIZE
        });
        assert!(found.1 == self.bytes, "it is not what was put in");
        let range = "Range: bytes=1000000-1000999\r\n";
        let part = get(device, board, &format!("{}/of.bin", self.path()), range);
        let is_part = part.0.contains(" 206 ") && part.1 == self.bytes[1_000_000..1_001_000];
        assert!(is_part, "{}", part.0);
        site.wait("the device has it by its name", || {
            found = get(device, board, self.published["path"].as_str().unwrap(), "");
            println!("{}", found.0);
            found.0.contains(" 200 ")
        });
        assert!(found.1 == self.bytes, "the name is another object's");
        let stats = site.ask(Node::Board(board), "cache", "stats", json!({}));
        println!("{stats}");
        let nodes = stats["nodes"].as_array().unwrap();
        let gave =
            |board: u8| nodes.iter().find(|row| row["board"] == board).unwrap()["gave"].clone();
        // At each request it has sent a part.
        assert!(gave(1) == 0 && gave(2).as_u64() >= Some(1), "{stats}");
    }
}

/// Has board 1 publish what it has added as `path`, for `ttl` seconds.
fn publish(site: &Site, path: &str, ttl: u32, added: &Value) -> Option<Value> {
    let args = json!({ "path": path, "hash": added["hash"], "ttl": ttl });
    site.machine(Node::Board(1)).call_unit("cache", "publish", args).ok()
}

/// What board 2 knows of a name.
fn resolve(site: &Site, published: &Value) -> Option<Value> {
    let name = json!({ "name": published["name"] });
    site.machine(Node::Board(2)).call_unit("cache", "resolve", name).ok()
}

/// Objects of a board that is off are available from the others, and repair those that its disk,
/// the one of board 1, has damaged meanwhile.
pub fn passes(site: &Site, seen: &Seen, disk: &DiskFile) {
    let added = AddedObject::on_two_boards(site);
    let (object, path) = (&added.bytes, added.path());
    let listed = || {
        let all = site.ask(Node::Board(1), "cache", "ls", json!({}));
        let is_it = |it: &&Value| it["hash"] == added.added["hash"];
        all.as_array().unwrap().iter().find(is_it).unwrap().clone()
    };
    site.wait("board 1 has sealed it", || listed()["sealed"] == true);

    // A name that would expire soon, and is renewed meanwhile.
    let live = publish(site, "site/live", 20, &added.added).unwrap();
    // The others find that in their next question.
    site.machine(Node::Board(2))
        .send_file("cache", "add", "file", &mut Bytes(KEPT.into()))
        .unwrap();
    site.wait("board 1 has renewed its name", || {
        resolve(site, &live).is_some_and(|it| it["sequence"].as_u64() > live["sequence"].as_u64())
    });
    site.cluster.cut_power(Node::Board(1)).unwrap();

    let port = site.cluster.attach(9, Socket::Router(LAN)).unwrap();
    let device = Host::start_behind(port, Mac::number(77), (DEVICE, 24), ROUTER);
    added.is_had_while_board_1_is_off(site, &device, 3);
    boards_keep_it(site);

    // A bit of it changes on the disk of board 1. The kernel refuses to read that, and another board repairs it.
    let (mut found, middle) = ((String::new(), vec![]), SIZE / 2);
    disk.flip_bit_of(&object[middle - 2048..middle + 2048]);
    site.power_on_with(Node::Board(1), disk);
    site.wait_ready(Node::Board(1));
    let scrubbed = || site.ask(Node::Board(1), "cache", "scrub-status", json!({}));
    site.wait("board 1 is reached again", || scrubbed()["state"] == "waiting");
    assert_eq!((&scrubbed()["found"], &listed()["sealed"]), (&json!(0), &json!(true)));
    let (line, part) = get(&device, 1, path, "");
    println!("{line}: {} bytes", part.len());
    assert!(part.len() < SIZE && object.starts_with(&part), "{line}: {} bytes", part.len());
    let around = format!("Range: bytes={}-{}\r\n", middle - 8, middle + 7);
    let wanted = &object[middle - 8..middle + 8];
    site.wait("board 1 has it again", || {
        found = get(&device, 1, path, &around);
        let is_part = found.0.contains(" 206 ");
        assert!(!is_part || wanted.starts_with(&found.1), "{}: a bit has changed", found.0);
        is_part && found.1 == wanted
    });
    let scrubbed = scrubbed();
    assert!(scrubbed["found"] == 1 && scrubbed["repaired"] == 1, "{scrubbed}");
    let logs = site.machine(Node::Board(1)).logs("cache").unwrap();
    let told = |text: &str| logs.iter().any(|line| line.contains(text));
    assert!(told("the disk has damaged"), "{logs:?}");
    assert!(told("was repaired: 16384 bytes came from board"), "{logs:?}");
    assert!(get(&device, 1, path, "").1 == *object);
    site.wait("board 1 has sealed it again", || listed()["sealed"] == true);

    // An unknown object is not found on any board.
    let nothing = path
        .replace(&path[3..11], if path[3..11] == *"00000000" { "11111111" } else { "00000000" });
    let (line, said) = get(&device, 2, &nothing, "");
    println!("{line}: {}", String::from_utf8_lossy(&said));
    assert!(line.contains(" 404 ") || line.contains(" 504 "), "{line}");

    // The frames went between boards, and nowhere else.
    let seen = seen.lock().unwrap();
    println!("frames of objects: {seen:?}");
    let of = |socket| seen.get(&socket).copied().unwrap_or_default();
    assert!(BOARDS.iter().all(|board| of(Socket::Board(*board)) > 0), "{seen:?}");
    assert_eq!((of(Socket::Router(0)), of(Socket::Router(LAN))), (0, 0), "{seen:?}");
}

/// Board 3 has fetched from board 2 what all boards keep.
fn boards_keep_it(site: &Site) {
    let status = |board| site.ask(Node::Board(board), "cache", "keep-status", json!({}));
    site.wait("boards 2 and 3 keep it", || {
        // A board knows at once what it has itself, and a minute later what another one has.
        [2, 3].into_iter().all(|board| {
            let boards = status(board)[0]["boards"].clone();
            boards.as_array().is_some_and(|it| it.contains(&json!(board)))
        })
    });
    println!("{}", status(3));
    let remove = json!({ "hash": status(3)[0]["hash"] });
    let refused = site.machine(Node::Board(3)).call_unit("cache", "remove", remove).unwrap_err();
    assert!(refused.to_string().contains("keeps this object"), "{refused}");
}
