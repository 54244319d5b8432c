//! What a disk has changed: no door gives it out, it is found, and it is repaired.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iroh_blobs::Hash;
use iroh_blobs::HashAndFormat;
use iroh_blobs::store::mem::MemStore;
use octet_cache::limits::CacheLimits;
use octet_cache::policy::ObjectKind;
use tokio::runtime::Runtime;

use crate::client::plain;
use crate::host::{Node, add, bytes, limits, path, runtime, until};
use crate::request::{TIMEOUT, get};

/// Larger than what is verified at once, and no multiple of 16 KiB.
const LENGTH: usize = (2 << 20) + 12_345;

/// The unit of verification.
const GROUP: u64 = 16 << 10;

/// Objects are verified as fast as the disk reads, and repairs are tried all the time.
fn soon() -> CacheLimits {
    CacheLimits { scrub_share: 100, repair_retry: Duration::from_millis(100), ..limits() }
}

/// Two nodes with the same object. The first one is the one whose disk is damaged, and knows the other one only once the
/// test says so.
struct Pair {
    nodes: [Node; 2],
    content: Vec<u8>,
    hash: Hash,
    // The last one, because nodes run in it.
    runtime: Runtime,
}

impl Pair {
    fn start(length: usize) -> Self {
        let runtime = runtime();
        let content = bytes(length, 7);
        let nodes = [(); 2].map(|()| runtime.block_on(Node::start(soon())));
        for node in &nodes {
            runtime.block_on(node.add(&content));
        }
        let pair = Self { nodes, hash: Hash::new(&content), content, runtime };
        pair.until("the object is verified when it is stored", |pair| {
            pair.nodes.iter().all(|it| it.scrubber.verified_bytes.get() >= length as u64)
        });
        pair
    }

    fn until(&self, what: &str, mut wanted: impl FnMut(&Self) -> bool) {
        self.runtime.block_on(until(what, || wanted(self)));
    }

    fn data(&self) -> PathBuf {
        self.nodes[0].objects.path_of(self.hash)
    }

    fn tree(&self) -> PathBuf {
        self.data().with_extension("obao4")
    }

    /// Verifies all objects now.
    fn scrub(&self) {
        self.nodes[0].scrubber.start();
    }

    fn is_damaged(&self) -> bool {
        self.nodes[0].objects.policy().is_damaged(&self.hash)
    }

    fn repaired(&self) -> u64 {
        self.nodes[0].counters.repaired.get()
    }

    /// Both nodes know both.
    fn introduce(&self) {
        let map = [self.nodes[0].as_peer(1), self.nodes[1].as_peer(2)];
        for node in &self.nodes {
            node.peers.send_replace(map.to_vec());
        }
    }

    /// The bytes that the other node has given.
    fn given(&self) -> u64 {
        let key = *self.nodes[0].endpoint.id().as_bytes();
        self.nodes[1].objects.policy().sent_to(&key).0
    }
}

/// Inverts one bit of a file, as a disk would.
pub fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.sync_all().unwrap();
}

/// The code of an answer and its body, however the connection ends.
fn body(at: SocketAddr, path: &str, ranges: Option<&str>) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let field = ranges.map_or(String::new(), |it| format!("Range: bytes={it}\r\n"));
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{field}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut all, mut part) = (vec![], [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut part) {
        all.extend_from_slice(&part[..count]);
    }
    let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { return (0, vec![]) };
    let code = String::from_utf8_lossy(&all[9..12]).parse().unwrap();
    (code, all[end + 4..].to_vec())
}

#[test]
fn no_door_gives_out_what_the_disk_has_changed_and_another_board_repairs_it() {
    let pair = Pair::start(LENGTH);
    let (node, content, path) = (&pair.nodes[0], &pair.content, path(pair.hash));
    let at = LENGTH / 2;
    let around = format!("{}-{}", at - 10, at + 10);
    let two = format!("0-9,{around}");
    let parts = |range: &str| body(node.http, &path, Some(range));
    let over_quic = || {
        pair.runtime.block_on(async {
            let (endpoint, store) = (plain().await, MemStore::new());
            let connection = endpoint.connect(node.address(), iroh_blobs::ALPN).await.unwrap();
            let fetching = store.remote().fetch(connection, HashAndFormat::raw(pair.hash));
            fetching.complete().await.is_ok()
        })
    };
    let has = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|it| it == part);
    let wanted = &content[at - 10..=at + 10];
    // The doors are open.
    assert_eq!(body(node.http, &path, None), (200, content.clone()));
    assert_eq!(parts(&around), (206, wanted.to_vec()));
    assert!(has(&parts(&two).1, wanted));
    assert!(over_quic());
    flip(&pair.data(), at as u64);
    let mut changed = wanted.to_vec();
    changed[10] ^= 1;
    // Each is tried before the damage is known, as far as the node does not find it meanwhile, and when it is.
    for _ in 0..2 {
        let whole = body(node.http, &path, None).1;
        assert!(whole.len() <= at && content.starts_with(&whole) || !has(&whole, &changed));
        for range in [&around, &two] {
            let (code, body) = parts(range);
            assert!(!has(&body, &changed) && !has(&body, wanted), "{code}");
        }
        assert!(!over_quic());
        pair.until("a door has noticed the damage", Pair::is_damaged);
        assert_eq!(body(node.http, &path, None).0, 404);
    }
    pair.until("it is counted", |_| node.scrubber.found.get() == 1);
    assert_eq!((pair.repaired(), pair.given()), (0, 0));
    // A board that has it gives what is damaged, and no more.
    pair.introduce();
    pair.until("it is repaired", |pair| pair.repaired() == 1);
    assert_eq!(body(node.http, &path, None), (200, content.clone()));
    assert_eq!(parts(&around), (206, wanted.to_vec()));
    assert!(fs::read(pair.data()).unwrap() == *content);
    assert!(node.objects.policy().is_pinned(&pair.hash));
    pair.until("the board has counted what it gave", |pair| pair.given() > 0);
    // The hashes that prove it are counted, too.
    assert!((GROUP..GROUP + 2048).contains(&pair.given()), "{}", pair.given());
    assert!(over_quic());
}

#[test]
fn a_pass_finds_whatever_a_disk_has_changed() {
    let pair = Pair::start(LENGTH);
    pair.introduce();
    let last = LENGTH as u64 - 1;
    let shorten = || {
        OpenOptions::new().write(true).open(pair.data()).unwrap().set_len(last - GROUP).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 7] = [
        ("the first byte", &|| flip(&pair.data(), 0)),
        ("the last byte", &|| flip(&pair.data(), last)),
        ("two places", &|| [GROUP, 1 << 20].iter().for_each(|at| flip(&pair.data(), *at))),
        ("the root of the hash tree", &|| flip(&pair.tree(), 0)),
        ("the end", &shorten),
        ("the file", &|| fs::remove_file(pair.data()).unwrap()),
        ("the hash tree", &|| fs::remove_file(pair.tree()).unwrap()),
    ];
    for ((what, damage), count) in damages.into_iter().zip(1..) {
        damage();
        pair.scrub();
        pair.until(&format!("{what} is repaired"), |pair| pair.repaired() == count);
        assert_eq!(pair.nodes[0].scrubber.found.get(), count, "{what}");
        assert!(fs::read(pair.data()).unwrap() == pair.content, "{what}");
        assert_eq!(get(pair.nodes[0].http, &path(pair.hash), &[]).body, pair.content, "{what}");
    }
    // What is well stays as it is.
    let started = pair.nodes[0].scrubber.progress().finished;
    pair.scrub();
    pair.until("a pass has ended", |pair| {
        let progress = pair.nodes[0].scrubber.progress();
        !progress.is_running && progress.finished >= started
    });
    assert_eq!(pair.nodes[0].scrubber.found.get(), 7);
}

#[test]
fn a_hash_tree_is_made_anew_from_the_content() {
    let pair = Pair::start(LENGTH);
    flip(&pair.tree(), 70);
    pair.scrub();
    pair.until("it is repaired without another board", |pair| pair.repaired() == 1);
    assert_eq!(get(pair.nodes[0].http, &path(pair.hash), &[]).body, pair.content);
}

#[test]
fn a_damaged_object_is_not_served_from_memory_either() {
    let pair = Pair::start(5000);
    let small = path(pair.hash);
    assert_eq!(get(pair.nodes[0].http, &small, &[]).body, pair.content);
    flip(&pair.data(), 4999);
    // It leaves the memory only after this is on the disk.
    pair.nodes[0].objects.policy().mark_damaged(pair.hash).unwrap();
    assert_eq!(get(pair.nodes[0].http, &small, &[]).code, 404);
}

#[test]
fn a_small_object_is_verified_and_stays_damaged_after_a_restart_until_it_is_added_again() {
    let pair = Pair::start(5000);
    let small = path(pair.hash);
    assert_eq!(get(pair.nodes[0].http, &small, &[]).body, pair.content);
    flip(&pair.data(), 4999);
    pair.scrub();
    pair.until("it is found", Pair::is_damaged);
    assert_eq!(get(pair.nodes[0].http, &small, &[]).code, 404);
    pair.runtime.block_on(async {
        let node = Node::start_in(pair.nodes[0].killed().await, soon()).await;
        assert!(node.objects.policy().is_damaged(&pair.hash));
        assert_eq!(get(node.http, &small, &[]).code, 404);
        add(&node.objects, &pair.content, ObjectKind::Loose).await.unwrap();
        assert_eq!(get(node.http, &small, &[]).body, pair.content);
        let policy = node.objects.policy();
        assert!(!policy.is_damaged(&pair.hash) && policy.is_pinned(&pair.hash));
    });
    // It can also be removed.
    let fetcher = &pair.nodes[0].gateway.state.as_ref().unwrap().fetcher;
    assert!(pair.runtime.block_on(fetcher.remove(pair.hash)).unwrap());
    assert!(!pair.is_damaged() && !pair.data().exists());
}
