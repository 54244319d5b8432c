//! A purge at one of four boards, of which the first one fetches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use iroh::endpoint::Connection;
use octet_cache::limits::CacheLimits;
use octet_cache::origin::{ALPN, Purged};
use octet_node::control::PublicKey;

use super::boards::{Boards, FRESH, boards, boards_with, front};
use super::stand::{head, ok, status};
use crate::client::plain;
use crate::host::{limits_for_many, peer};
use crate::request::say;

/// What comes of a purge at this board.
fn purge(boards: &Boards, at: usize, what: &str) -> Purged {
    let front = front(&boards.nodes[at - 1]);
    boards.runtime.block_on(front.purge(what)).unwrap().unwrap()
}

/// Each board gets these paths, and stores them.
fn fill(boards: &Boards, paths: &[&str]) {
    for path in paths {
        for board in 1..=4 {
            assert_eq!(boards.get(board, path, "").code, 200);
        }
    }
    boards.settled();
}

fn is_stored(boards: &Boards, board: usize, path: &str) -> bool {
    let answer = boards.get(board, path, "Cache-Control: only-if-cached\r\n");
    assert!([200, 504].contains(&answer.code), "{}", status(&answer));
    answer.code == 200
}

fn stored(boards: &Boards, path: &str) -> [bool; 4] {
    [1, 2, 3, 4].map(|board| is_stored(boards, board, path))
}

#[test]
fn all_boards_forget_a_url_or_all_of_an_origin() {
    let boards = boards("");
    boards.web.answers(ok(FRESH, b"old"));
    fill(&boards, &["/a?b", "/c"]);
    assert_eq!((stored(&boards, "/a?b"), stored(&boards, "/c")), ([true; 4], [true; 4]));
    // A device may not.
    for to in &boards.nodes {
        for path in ["/c", "*"] {
            assert_ne!(say(to.http, &head("PURGE", path, "")).code, 200);
        }
    }
    assert_eq!(stored(&boards, "/c"), [true; 4]);
    boards.web.answers(ok(FRESH, b"new"));
    // The same path in another form (RFC 3986, 6.2.2).
    let purged = purge(&boards, 3, "http://web.octet.internal:8080/%61?b");
    assert_eq!((purged.keys, purged.failed.len()), (4, 0));
    assert_eq!((stored(&boards, "/a?b"), stored(&boards, "/c")), ([false; 4], [true; 4]));
    let count = boards.web.count();
    for board in [2, 4, 1, 3] {
        assert_eq!(boards.get(board, "/a?b", "").text(), "new", "{board}");
    }
    boards.settled();
    assert_eq!(boards.web.count(), count + 1);
    for at in [1, 4] {
        let purged = purge(&boards, at, "web");
        assert_eq!((purged.keys, purged.failed.len()), (8, 0), "at board {at}");
        assert_eq!((stored(&boards, "/a?b"), stored(&boards, "/c")), ([false; 4], [false; 4]));
        fill(&boards, &["/a?b", "/c"]);
    }
}

/// If a board were purged before the ones that it asks, it could get from them what is to be forgotten.
#[test]
fn boards_that_fetch_are_purged_before_those_that_ask_them() {
    let request_timeout = Duration::from_secs(180);
    let boards = boards_with(CacheLimits { request_timeout, ..limits_for_many() }, "");
    boards.web.answers(ok(FRESH, b"body"));
    fill(&boards, &["/"]);
    // For board 4, an endpoint that does not answer is board 1.
    let silent = boards.runtime.block_on(plain());
    silent.set_alpns(vec![ALPN.to_vec()]);
    let mut map = boards.map();
    let key = PublicKey::new(*silent.id().as_bytes());
    map[0] = peer(1, key, silent.bound_sockets());
    boards.nodes[3].peers.send_replace(map);
    let front = Arc::clone(front(&boards.nodes[3]));
    let purging = boards.runtime.spawn(async move { front.purge("web").await });
    let asked = boards.runtime.block_on(async {
        let connection = silent.accept().await.unwrap().await.unwrap();
        let (to, mut from) = connection.accept_bi().await.unwrap();
        let mut head = [0; 23];
        from.read_exact(&mut head).await.unwrap();
        assert_eq!(&head[..], b"PURGE * HTTP/1.1\r\nhost:");
        (connection, to, from)
    });
    assert_eq!(stored(&boards, "/"), [true; 4]);
    drop(asked);
    let purged = boards.runtime.block_on(purging).unwrap().unwrap().unwrap();
    assert_eq!((purged.keys, purged.failed.len()), (3, 1));
    assert_eq!(stored(&boards, "/"), [true, false, false, false]);
}

#[test]
fn who_does_not_answer_is_named_and_who_left_is_not_asked() {
    let boards = boards("");
    boards.web.answers(ok(FRESH, b"body"));
    fill(&boards, &["/"]);
    boards.runtime.block_on(boards.nodes[3].endpoint.close());
    let purged = purge(&boards, 1, "web");
    assert_eq!(purged.keys, 3);
    assert_eq!(purged.failed, [(4, "board 4 does not answer".to_owned())].into());
    boards.leaves(4);
    assert!(purge(&boards, 1, "web").failed.is_empty());
    // Without a map nobody knows who left.
    boards.nodes[0].peers.send_replace(vec![]);
    let failed = purge(&boards, 1, "web").failed;
    assert_eq!(failed.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(failed[&2], "board 2 is not in the membership map");
}

/// A board that was taken over does not keep the others' disks busy.
#[test]
fn a_board_purges_others_at_intervals() {
    let boards = boards("");
    let ask = |connection: Connection, target: &'static str| async move {
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        let head = format!("PURGE {target} HTTP/1.1\r\nHost: web\r\n\r\n");
        to.write_all(head.as_bytes()).await.unwrap();
        let answer = from.read_to_end(1 << 20).await.unwrap();
        String::from_utf8_lossy(&answer[9..12]).into_owned()
    };
    boards.runtime.block_on(async {
        let endpoint = boards.nodes[2].endpoint.clone();
        let connection = endpoint.connect(boards.nodes[1].address(), ALPN).await.unwrap();
        assert_eq!(ask(connection.clone(), "/%zz").await, "400");
        let began = Instant::now();
        let asked = (0..8).map(|_| ask(connection.clone(), "*"));
        assert_eq!(join_all(asked).await, ["200"; 8]);
        assert!(began.elapsed() >= Duration::from_millis(800));
    });
}
