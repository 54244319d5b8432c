//! Several boards of a box are fronts of one web origin, which is the gateway of a further board: one of them fetches,
//! another one in its place, and in the end the origin itself is off.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::Node;
use octet_machine::panel::{Host, Mac};
use octet_tests::{Bytes, Remake};
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::objects::LINES;
use crate::cluster::origin::with_origin;
use crate::cluster::owned::LAN;
use crate::cluster::site::{IMAGE, Site, address, place_forward_nowhere, text};

const BOARDS: u8 = 8;

/// The board whose gateway is the web server, the one that fetches, and its standby.
const WEB: u8 = 1;
const FETCHES: u8 = 2;
const STANDBY: u8 = 3;

const HTTP: u16 = 8080;

/// A device of the owner's, and the router's address in its network.
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 77);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 1);

fn lines() -> String {
    let web = address(WEB);
    let policy = |from: u8| {
        format!(
            "[[policy]]\nfrom = \"board-{from}\"\nto = \"board-{WEB}\"\nprotocol = \"tcp\"\nports = [{HTTP}]\n"
        )
    };
    format!(
        "{LINES}{}{}[[origin]]\nname = \"web\"\nupstream = \"http://{web}:{HTTP}\"\nallow = [\"{web}/32\"]\n\
         board = {FETCHES}\nfronts = [{STANDBY}]\nstandby = [{STANDBY}]\n",
        policy(FETCHES),
        policy(STANDBY)
    )
}

/// The head of the answer of a board, in lower case, and its body; empty if there is none.
fn get(device: &Host, board: u8, path: &str) -> (String, Vec<u8>) {
    let host = format!("web.octet.internal:{HTTP}");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut all = vec![];
    // A board that has just begun, or one that loses what it asks, gives none.
    if let Ok(mut stream) = device.connect(SocketAddr::new(IpAddr::V4(address(board)), HTTP)) {
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut all);
    }
    let end = all.windows(4).position(|it| it == b"\r\n\r\n").map_or(0, |end| end + 4);
    let body = all.split_off(end);
    (String::from_utf8(all).unwrap().to_lowercase(), body)
}

/// Stores an object of the web server. Returns its path.
fn add(site: &Site, object: &[u8]) -> String {
    let mut added = json!({});
    site.wait("the web server has it", || {
        let mut file = Bytes(object.to_vec());
        let answer = site.machine(Node::Board(WEB)).send_file("cache", "add", "file", &mut file);
        answer.map(|answer| added = answer).is_ok()
    });
    added["path"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "long: builds an image and boots a router and three boards; `services/cache/tests/node/origin/boards.rs` has all but the rules between boards"]
fn a_page_outlives_the_board_that_fetches_and_its_web_server() {
    let folder = TempDir::new().unwrap();
    let base = with_origin(&folder);
    let text = format!("{}\n{IMAGE}", text(BOARDS, &lines()));
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let settings = serde_json::to_vec(&appliance).unwrap();
    let image = place_forward_nowhere(Remake::of(&base).file(SETTINGS, 0o644, settings));
    let site = Site::of(BOARDS, image);
    let boards = [WEB, FETCHES, STANDBY];
    let _disks = site.start_with_disks(boards);
    site.wait_whole(&boards.map(|number| (Node::Board(number), number)));
    let port = site.cluster.attach(9, octet_machine::Socket::Router(LAN)).unwrap();
    let device = Host::start_behind(port, Mac::number(77), (DEVICE, 24), ROUTER);

    let page = |seed: usize| -> Vec<u8> {
        (0..700_001).map(|at| (at * at / 251 + at * seed) as u8).collect()
    };
    let (first, second) = (page(1), page(2));
    let [path, next] = [add(&site, &first), add(&site, &second)];
    let asked = || site.ask(Node::Board(WEB), "cache", "stats", json!({}))["http_requests"].clone();
    let is_page = |got: &(String, Vec<u8>), body: &[u8], status: &str| {
        println!("{}, {} bytes", got.0.replace("\r\n", " | "), got.1.len());
        got.0.starts_with("http/1.1 200 ") && got.1 == body && got.0.contains(status)
    };

    // Both have to know each other.
    for (board, other) in [(FETCHES, STANDBY), (STANDBY, FETCHES)] {
        let knows = || {
            let stats = site.ask(Node::Board(board), "cache", "stats", json!({}));
            stats["nodes"].as_array().is_some_and(|it| it.iter().any(|row| row["board"] == other))
        };
        site.wait("the fronts know each other", knows);
    }
    let missed = "cache-status: octet; fwd=uri-miss; fwd-status=200; stored";
    site.wait("the standby has it of the other", || {
        is_page(&get(&device, STANDBY, &path), &first, missed)
    });
    let once = asked();
    for board in [FETCHES, STANDBY] {
        site.wait("both have it", || {
            is_page(&get(&device, board, &path), &first, "cache-status: octet; hit")
        });
    }
    assert_eq!(asked(), once, "the web server was asked again");

    site.cluster.cut_power(Node::Board(FETCHES)).unwrap();
    site.wait("the standby fetches", || is_page(&get(&device, STANDBY, &next), &second, missed));
    site.cluster.cut_power(Node::Board(WEB)).unwrap();
    for (path, body) in [(&path, &first), (&next, &second)] {
        assert!(is_page(&get(&device, STANDBY, path), body, "cache-status: octet; hit"));
    }
    let unknown = get(&device, STANDBY, "/b/unknown");
    assert!(unknown.0.starts_with("http/1.1 502 "), "{}", unknown.0);
}
