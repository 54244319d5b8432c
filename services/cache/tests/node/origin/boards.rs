//! Fronts on four boards, of which the first one fetches.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use octet_cache::limits::CacheLimits;
use octet_cache::origin::{ALPN, OriginFront};
use octet_cache::peers::PeerNode;
use tempfile::TempDir;
use tokio::sync::watch;

use super::collapse::{begin_at, body_of, read_to_body};
use super::stand::{Web, fetch_unit, head, ok, sections, status};
use crate::host::{Node, bytes, limits_for_many, runtime, until};
use crate::request::{Answer, exchange, say};

pub const FRESH: &str = "Cache-Control: max-age=60\r\n";

pub struct Boards {
    pub web: Web,
    pub nodes: Vec<Node>,
    // The last one, because nodes and units run in it.
    pub runtime: tokio::runtime::Runtime,
}

pub fn boards(lines: &str) -> Boards {
    boards_with(limits_for_many(), lines)
}

pub fn boards_with(limits: CacheLimits, lines: &str) -> Boards {
    let (web, runtime) = (Web::start(), runtime());
    let lines = format!("board = 1\nfronts = [2, 3, 4]\n{lines}[cluster]\nboards = 4\n");
    let (fetched, appliance) = sections(web.port, &lines);
    let nodes = runtime.block_on(async {
        let mut nodes = vec![];
        for number in 1..=4 {
            let node = Node::start_in(TempDir::new().unwrap(), limits).await;
            front(&node).set_origins("octet", &appliance.origin, Some(number));
            nodes.push(node);
        }
        let (_, fetched) = watch::channel(fetched);
        // Board 4 has none.
        for node in &nodes[..3] {
            fetch_unit(node, fetched.clone());
        }
        nodes
    });
    let boards = Boards { web, nodes, runtime };
    for node in &boards.nodes {
        node.peers.send_replace(boards.map());
    }
    boards
}

pub fn front(node: &Node) -> &Arc<OriginFront> {
    &node.gateway.state.as_ref().unwrap().origins
}

/// How requests to the origin were answered.
fn outcomes(node: &Node) -> Vec<(&'static str, u64)> {
    node.counters.origins.all().filter(|it| it.1 > 0).collect()
}

impl Boards {
    pub fn map(&self) -> Vec<PeerNode> {
        (1..).zip(&self.nodes).map(|(number, node)| node.as_peer(number)).collect()
    }

    /// Takes the board out of the maps of all.
    pub fn leaves(&self, number: u8) {
        for node in &self.nodes {
            node.peers.send_modify(|peers| peers.retain(|peer| peer.number != number));
        }
    }

    pub fn get(&self, board: usize, path: &str, fields: &str) -> Answer {
        say(self.nodes[board - 1].http, &head("GET", path, fields))
    }

    /// Waits until no response arrives on any board.
    pub fn settled(&self) {
        let is_idle = |node: &Node| {
            let arriving = node.folder.path().join("arriving");
            front(node).is_idle() && std::fs::read_dir(&arriving).unwrap().next().is_none()
        };
        let are_idle = || self.nodes.iter().all(is_idle);
        self.runtime.block_on(until("all is stored", are_idle));
    }

    fn objects(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.objects.policy().usage().objects).collect()
    }
}

#[test]
fn fifty_clients_of_four_boards_and_one_request() {
    let boards = boards("");
    let body = bytes(3_000_000, 5);
    let whole = ok(FRESH, &body);
    let (start, rest) = whole.split_at(whole.len() - 1_000_000);
    let go = boards.web.answers_in_two(start.to_vec(), rest.to_vec());
    let mut clients: Vec<_> =
        (0..50).map(|client| begin_at(boards.nodes[client % 4].http, "/", "")).collect();
    // Each has its first byte before the last one was sent.
    clients.iter_mut().for_each(read_to_body);
    let mut part = begin_at(boards.nodes[2].http, "/", "Range: bytes=1000-1999\r\n");
    read_to_body(&mut part);
    assert!(body_of(part) == body[1000..2000]);
    assert_eq!(boards.web.count(), 1);
    drop(go);
    for client in clients {
        assert!(body_of(client) == body);
    }
    boards.settled();
    assert_eq!((boards.web.count(), boards.objects()), (1, vec![1; 4]));
    // Board 1 was asked by its own clients, and by three boards.
    assert_eq!(outcomes(&boards.nodes[0]), [("miss", 1), ("collapsed", 15)]);
    assert_eq!(outcomes(&boards.nodes[3]), [("miss", 1), ("collapsed", 11)]);
    // Each has it from its own disk.
    boards.nodes[0].peers.send_replace(vec![]);
    for board in 1..=4 {
        let answer = boards.get(board, "/", "");
        assert!(answer.body == body);
        assert!(status(&answer).starts_with("octet; hit; ttl="), "{}", status(&answer));
    }
    assert_eq!(boards.web.count(), 1);
}

#[test]
fn what_the_fetching_board_has_is_asked_of_it() {
    let boards = boards("cookies = [\"a\"]\n");
    let body = bytes(2_500_000, 6);
    boards.web.answers(ok(&format!("ETag: \"1\"\r\nAge: 7\r\n{FRESH}"), &body));
    assert!(boards.get(1, "/", "").body == body);
    boards.settled();
    let answer = boards.get(2, "/", "");
    assert!(answer.body == body);
    assert_eq!(status(&answer), "octet; fwd=uri-miss; fwd-status=200; stored");
    let raw = exchange(boards.nodes[2].http, &head("GET", "/", ""));
    let raw = String::from_utf8_lossy(&raw).to_ascii_lowercase();
    assert_eq!(raw.matches("\r\ncache-status:").count(), 1);
    assert!(answer.header("age").parse::<u64>().unwrap() >= 7);
    boards.settled();
    assert!(boards.get(2, "/", "Range: bytes=5-9\r\n").body == body[5..10]);
    assert_eq!(boards.get(2, "/", "If-None-Match: \"1\"\r\n").code, 304);
    assert_eq!((boards.web.count(), boards.objects()), (1, vec![1, 1, 1, 0]));
    // What is for one client is passed through both boards, each time, and stays on none.
    for fields in ["Authorization: Basic eA==\r\n", "Cookie: a=1\r\n"] {
        for _ in 0..2 {
            let before = boards.web.count();
            assert!(boards.get(3, "/", fields).body == body);
            assert_eq!(boards.web.count(), before + 1, "{fields}");
            assert!(boards.web.last().contains(&fields.to_ascii_lowercase()), "{fields}");
        }
    }
    boards.web.answers(ok(&format!("Set-Cookie: a=1\r\n{FRESH}"), b"mine"));
    for _ in 0..2 {
        let before = boards.web.count();
        assert_eq!(boards.get(3, "/mine", "").text(), "mine");
        assert_eq!(boards.web.count(), before + 1);
    }
    boards.settled();
    assert_eq!(boards.objects(), [1, 1, 1, 0]);
}

#[test]
fn one_connection_has_many_requests() {
    let boards = boards("");
    let whole = ok(FRESH, &bytes(300_000, 8));
    let go = boards.web.answers_in_two(whole[..100_000].to_vec(), whole[100_000..].to_vec());
    let mut first = begin_at(boards.nodes[1].http, "/first", "");
    read_to_body(&mut first);
    // The web server has one thread.
    let mut second = begin_at(boards.nodes[1].http, "/second", "");
    let is_asked = || boards.nodes[1].counters.http_requests.get() == 2;
    boards.runtime.block_on(until("the second is asked", is_asked));
    boards.web.answers(whole.clone());
    drop(go);
    read_to_body(&mut second);
    for client in [first, second] {
        assert!(whole.ends_with(&body_of(client)));
    }
    boards.settled();
    assert_eq!(boards.objects()[..2], [1, 1]);
}

#[test]
fn what_is_cut_off_is_stored_on_no_board() {
    let boards = boards("");
    let body = bytes(200_000, 7);
    let length = ok(FRESH, &body);
    let open = [format!("HTTP/1.1 200 OK\r\n{FRESH}\r\n").as_bytes(), &body].concat();
    let chunked = |end: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
        let size = format!("{:x}\r\n", body.len());
        [head.as_bytes(), size.as_bytes(), &body, b"\r\n", end].concat()
    };
    for (path, response, is_stored) in [
        ("/length", length.clone(), true),
        ("/length-cut", length[..length.len() - 1].to_vec(), false),
        ("/chunked", chunked(b"0\r\n\r\n"), true),
        ("/chunked-cut", chunked(b""), false),
        // Nobody can tell whether it is whole.
        ("/open", open, false),
    ] {
        boards.web.answers(response);
        let mut client = begin_at(boards.nodes[1].http, path, "");
        let _ = client.0.read_to_end(&mut client.1);
        boards.settled();
        let before = boards.web.count();
        let got = body_of(begin_at(boards.nodes[1].http, path, ""));
        assert_eq!(boards.web.count() == before, is_stored, "{path}");
        assert!(!is_stored || got == body, "{path}");
        boards.settled();
    }
}

#[test]
fn boards_of_the_map_are_served_and_believed() {
    let boards = boards("");
    boards.web.answers(ok(FRESH, b"body"));
    let (map, without) = (boards.map(), |number: u8| {
        boards.map().into_iter().filter(|peer| peer.number != number).collect::<Vec<_>>()
    });
    assert_eq!(boards.get(2, "/", "").text(), "body");
    boards.settled();
    // The board that gave it is revoked, and is a member again. The second time it is in memory.
    for _ in 0..2 {
        boards.nodes[1].peers.send_replace(without(1));
        let refused = boards.get(2, "/", "");
        assert_eq!(refused.code, 502);
        let why = "board 1 is not in the membership map";
        assert!(refused.text().contains(why), "{}", refused.text());
        boards.nodes[1].peers.send_replace(map.clone());
        assert!(status(&boards.get(2, "/", "")).starts_with("octet; hit"));
    }
    // The fetching board does not know the asking one.
    boards.nodes[0].peers.send_replace(without(2));
    assert_eq!(boards.get(2, "/b", "").code, 502);
    assert_eq!(boards.get(3, "/b", "").code, 200);
    boards.nodes[0].peers.send_replace(map);
    assert_eq!(boards.get(2, "/b", "").code, 200);
    // A front that does not fetch asks no third board.
    let status = |to: usize| {
        let endpoint = boards.nodes[2].endpoint.clone();
        boards.runtime.block_on(async {
            let connection = endpoint.connect(boards.nodes[to].address(), ALPN).await.unwrap();
            let (mut to, mut from) = connection.open_bi().await.unwrap();
            to.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
            let answer = from.read_to_end(1 << 20).await.unwrap();
            String::from_utf8_lossy(&answer[9..12]).into_owned()
        })
    };
    assert_eq!([status(0), status(1)], ["200", "421"]);
}

#[test]
fn a_page_outlives_the_board_that_fetches() {
    let boards = boards("");
    boards.web.answers(ok("Cache-Control: max-age=0, stale-if-error=1000\r\n", b"stale"));
    boards.get(2, "/stale", "");
    boards.web.answers(ok("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", b"strict"));
    boards.get(2, "/strict", "");
    boards.settled();
    boards.runtime.block_on(boards.nodes[0].endpoint.close());
    let answer = boards.get(2, "/stale", "");
    assert_eq!((answer.code, answer.text().as_str()), (200, "stale"));
    assert!(status(&answer).ends_with("detail=stale-if-error"), "{}", status(&answer));
    let refused = boards.get(2, "/strict", "");
    assert_eq!(refused.code, 502);
    assert!(refused.text().contains("board 1 does not answer"), "{}", refused.text());
    assert_eq!(outcomes(&boards.nodes[1]), [("stale", 1), ("miss", 2), ("failed", 1)]);
}

#[test]
fn standbys_fetch_in_their_order() {
    let boards = boards("standby = [3, 2]\n");
    boards.web.answers(ok(FRESH, b"body"));
    let ask = |board: usize, path: &str| {
        let count = boards.web.count();
        assert_eq!(boards.get(board, path, "").text(), "body");
        boards.settled();
        assert_eq!(boards.web.count(), count + 1, "{path}");
    };
    ask(4, "/a");
    assert_eq!(boards.objects(), [1, 0, 0, 1]);
    boards.leaves(1);
    ask(4, "/b");
    assert_eq!(boards.objects(), [1, 0, 1, 1]);
    // The standby itself, and one that asks it.
    ask(3, "/c");
    ask(2, "/d");
    assert_eq!(boards.objects(), [1, 1, 1, 1]);
    // What board 3 has fetched for board 2 it has for others.
    let count = boards.web.count();
    assert!(status(&boards.get(3, "/d", "")).starts_with("octet; hit"));
    boards.leaves(3);
    ask(4, "/e");
    assert!(status(&boards.get(2, "/e", "")).starts_with("octet; hit"));
    boards.leaves(2);
    assert_eq!(boards.get(4, "/f", "").code, 502);
    assert_eq!(boards.web.count(), count + 1);
}

#[test]
fn a_board_that_is_back_fetches_again() {
    let (connect_timeout, board_retry) = (Duration::from_millis(300), Duration::from_millis(10));
    let limits = CacheLimits { connect_timeout, board_retry, ..limits_for_many() };
    let boards = boards_with(limits, "");
    boards.web.answers(ok(FRESH, b"body"));
    let mut elsewhere = boards.map();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    elsewhere[0].addresses = vec![nobody.local_addr().unwrap()];
    boards.nodes[1].peers.send_replace(elsewhere);
    assert_eq!(boards.get(2, "/", "").code, 502);
    boards.nodes[1].peers.send_replace(boards.map());
    let is_back = || boards.get(2, "/", "").code == 200;
    boards.runtime.block_on(until("it is back", is_back));
}
