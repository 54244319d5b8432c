//! Eviction, and the state after a kill during an eviction.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use iroh_blobs::Hash;
use octet_cache::counters::CacheCounters;
use octet_cache::fetch::{Missing, PIECE};
use octet_cache::limits::CacheLimits;
use octet_cache::objects::{ObjectError, Objects};
use octet_cache::policy::{CacheUsage, ObjectKind, PinnedBy, cost};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::host::{Node, add, bytes, limits, path, runtime, until};
use crate::provider::{Provider, Way};
use crate::request::get;
use crate::verbs::{args, config, connect};

/// The size of an object in bytes: it has a file of its own.
const SIZE: usize = 100_000;

/// The number of such objects within the quota.
const ROOM: u64 = 8;

fn small() -> CacheLimits {
    CacheLimits { quota: Some(ROOM * cost(SIZE as u64)), ..limits() }
}

async fn open(folder: &Path, limits: &CacheLimits) -> Arc<Objects> {
    Arc::new(Objects::open(folder, limits).await.unwrap())
}

/// The number of files of objects.
fn files(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join("data")).unwrap();
    files
        .filter(|it| it.as_ref().unwrap().path().extension().is_some_and(|it| it == "data"))
        .count()
}

#[test]
fn no_more_than_the_quota_and_what_is_pinned_stays() {
    let runtime = runtime();
    let [origin, node] = [limits(), small()].map(|it| runtime.block_on(Node::start(it)));
    node.peers.send_replace(vec![origin.as_peer(1)]);
    let pinned = bytes(SIZE, 1);
    let hash = runtime.block_on(node.add(&pinned)).hash;
    let mut fetched = vec![];
    for seed in 0..30 {
        let all = bytes(SIZE, 100 + seed);
        if seed % 2 == 0 {
            runtime.block_on(add(&node.objects, &all, ObjectKind::Loose)).unwrap();
        } else {
            let hash = runtime.block_on(origin.add(&all)).hash;
            let answer = get(node.http, &path(hash), &[]);
            assert!(answer.body == all, "{seed}: {} {}", answer.code, answer.text());
            fetched.push((hash, all));
            // The last byte may be readable before the object is stored.
            let count = fetched.len() as u64;
            runtime.block_on(until("it is kept", || node.counters.fetched.get() == count));
        }
        let CacheUsage { quota, used, .. } = node.objects.policy().usage();
        assert!(used <= quota, "{seed}: {used}");
        assert!(files(&node.folder.path().join("store")) as u64 <= ROOM);
    }
    assert_eq!(node.objects.policy().usage().objects as u64, ROOM);
    assert_eq!(files(&node.folder.path().join("store")) as u64, ROOM);
    assert!(get(node.http, &path(hash), &[]).body == pinned);
    // An evicted object is fetched again.
    let (hash, all) = &fetched[0];
    assert!(node.objects.size(*hash).is_none());
    assert!(get(node.http, &path(*hash), &[]).body == *all);
}

/// A node that only claims a size, for example of an invented hash, causes no eviction.
#[test]
fn objects_go_for_bytes_and_not_for_a_size() {
    let runtime = runtime();
    let (size, loose) = (8 * PIECE as usize, bytes(2 * PIECE as usize, 1));
    let quota = cost(size as u64) + PIECE;
    let limits = CacheLimits { quota: Some(quota), ..limits() };
    let node = runtime.block_on(Node::start(limits));
    let hash = runtime.block_on(add(&node.objects, &loose, ObjectKind::Loose)).unwrap().hash;
    let all = bytes(size, 2);
    let (liar, honest) = runtime.block_on(async {
        let honest = Way::Once(watch::channel(true).1);
        (Provider::start(1, &all, Way::Flips).await, Provider::start(2, &all, honest).await)
    });
    let fetcher = &node.gateway.state.as_ref().unwrap().fetcher;
    let fetch = || runtime.block_on(fetcher.fetch(Hash::new(&all)));
    let is_here = || node.objects.size(hash).is_some();
    // It proves the size, but no piece that it sends is correct.
    node.peers.send_replace(vec![liar.1]);
    fetch().unwrap_err();
    assert!(liar.0.pieces() > 0 && is_here());
    // Data that arrives gets room.
    node.peers.send_replace(vec![honest.1]);
    fetch().unwrap();
    assert!(!is_here());
    assert_eq!(node.objects.policy().usage().used, cost(size as u64));
    // An object larger than the quota is not requested.
    let all = bytes(quota as usize, 3);
    let (large, peer, _router) = runtime.block_on(Provider::start(3, &all, Way::Flips));
    node.peers.send_replace(vec![peer]);
    let refused = runtime.block_on(fetcher.fetch(Hash::new(&all))).unwrap_err();
    assert!(matches!(refused, Missing::Store(ObjectError::Quota { .. })), "{refused}");
    assert_eq!(large.pieces(), 0);
    assert_eq!(node.objects.policy().usage().objects, 1);
}

#[test]
fn of_pinned_ones_none_goes() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(small()));
    let all: Vec<Vec<u8>> = (0..ROOM).map(|seed| bytes(SIZE, seed)).collect();
    let hashes: Vec<Hash> =
        all.iter().map(|bytes| runtime.block_on(node.add(bytes)).hash).collect();
    runtime.block_on(async {
        let more = bytes(SIZE, 99);
        for kind in [ObjectKind::Pinned, ObjectKind::Loose] {
            let refused = add(&node.objects, &more, kind).await.unwrap_err();
            let ObjectError::Quota { used, pinned, .. } = refused else { panic!("{refused}") };
            assert_eq!(used, pinned);
            assert!(refused.to_string().contains("unpin or remove"), "{refused}");
        }
        // A file of unknown length.
        let parts = futures_util::stream::iter([Ok(more.clone().into())]);
        let refused = node.objects.add(None, parts, ObjectKind::Loose).await.unwrap_err();
        assert!(matches!(refused, ObjectError::Quota { .. }), "{refused}");
        for hash in &hashes {
            assert!(node.objects.size(*hash).is_some());
        }
        assert!(node.objects.pin(hashes[3], PinnedBy::Operator, false).await.unwrap());
        add(&node.objects, &more, ObjectKind::Loose).await.unwrap();
        assert!(node.objects.size(hashes[3]).is_none());
        // An object that is pinned by an operator stays as well.
        let more = Hash::new(&more);
        assert!(node.objects.pin(more, PinnedBy::Operator, true).await.unwrap());
        assert!(!node.objects.pin(hashes[3], PinnedBy::Operator, true).await.unwrap());
        let refused = add(&node.objects, &bytes(SIZE, 98), ObjectKind::Loose).await;
        assert!(refused.is_err());
        // An object larger than the quota evicts nothing.
        node.objects.pin(more, PinnedBy::Operator, false).await.unwrap();
        assert!(add(&node.objects, &bytes(SIZE * 9, 97), ObjectKind::Loose).await.is_err());
        assert!(node.objects.size(more).is_some());
    });
}

#[test]
fn what_was_removed_is_gone() {
    let runtime = runtime();
    let [origin, node] = [limits(), limits()].map(|it| runtime.block_on(Node::start(it)));
    node.peers.send_replace(vec![origin.as_peer(1)]);
    for length in [9, SIZE] {
        let all = bytes(length, 4);
        let hash = runtime.block_on(node.add(&all)).hash;
        runtime.block_on(origin.add(&all));
        assert_eq!(get(node.http, &path(hash), &[]).code, 200);
        assert!(runtime.block_on(node.objects.remove(hash)).unwrap());
        assert!(!runtime.block_on(node.objects.remove(hash)).unwrap());
        // A removed object is not served from memory either, although another node has it.
        let answer = get(node.http, &path(hash), &[]);
        assert_eq!(answer.code, 410, "{}", answer.text());
        assert!(!runtime.block_on(node.objects.store().blobs().has(hash)).unwrap());
        runtime.block_on(node.add(&all));
        assert!(get(node.http, &path(hash), &[]).body == all);
    }
    // Each of the two objects has a file of its own.
    assert_eq!(files(&node.folder.path().join("store")), 2);
}

/// The policy's rows and the store agree after the next start. Returns the number of objects.
fn agree(folder: &Path) -> usize {
    runtime().block_on(async {
        let objects = open(folder, &small()).await;
        let listed = objects.list(None, 1000).await.unwrap();
        let usage = objects.policy().usage();
        assert_eq!(usage.objects, listed.len());
        assert_eq!(usage.used, listed.iter().map(|it| cost(it.size)).sum::<u64>());
        assert!(usage.used <= usage.quota);
        let mut blobs = objects.store().blobs().list().hashes().await.unwrap();
        // The store always has the empty object.
        blobs.retain(|hash| *hash != Hash::EMPTY);
        let mut hashes: Vec<Hash> = listed.iter().map(|it| it.hash).collect();
        blobs.sort();
        hashes.sort();
        assert_eq!(blobs, hashes);
        for one in &listed {
            let found = objects.find(one.hash, &CacheCounters::default()).await.unwrap().unwrap();
            assert_eq!(found.size, one.size);
            let all = objects.store().blobs().get_bytes(one.hash).await.unwrap();
            assert_eq!(Hash::new(&all), one.hash);
        }
        objects.store().shutdown().await.unwrap();
        listed.len()
    })
}

#[test]
fn another_quota_holds_at_once() {
    let folder = TempDir::new().unwrap();
    let (state, socket) = (folder.path().join("state"), folder.path().join("cache.sock"));
    crate::verbs::start_at(&folder, Some(state));
    let mut client = connect(&socket);
    for seed in 0..ROOM {
        let loose = args(json!({ "file": { "size": SIZE }, "loose": true }));
        let mut file = octet_as_pid_1::MemoryFile(bytes(SIZE, seed));
        client.call_with("add", loose, Some(&mut file), |_| true).unwrap();
    }
    let count = |client: &mut octet_node::control::Client<_>| {
        client.call("ls", args(json!({}))).unwrap().as_array().unwrap().len() as u64
    };
    // `config-check` changes nothing yet.
    for (verb, left) in [("config-check", ROOM), ("config-apply", 3)] {
        let quota = format!("{}", 3 * cost(SIZE as u64));
        let config = config(&folder, &json!({ "quota": quota }), &json!([]));
        client.call(verb, args(json!({}))).unwrap();
        config.join().unwrap();
        assert_eq!(count(&mut client), left);
    }
}

/// The variable with the folder for objects of the other process in the test below.
const FOLDER: &str = "OCTET_TEST_FOLDER";

/// Not a test of its own: the next test runs it as a process, and kills it. Each new object evicts
/// another one.
#[test]
fn lets_go_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    runtime().block_on(async {
        let objects = open(Path::new(&folder), &small()).await;
        add(&objects, &bytes(SIZE, 5), ObjectKind::Pinned).await.unwrap();
        for seed in u64::from(std::process::id()) << 16.. {
            let listed = add(&objects, &bytes(SIZE, seed), ObjectKind::Loose).await.unwrap();
            println!("added {}", listed.hash);
            if seed % 5 == 0 {
                objects.remove(listed.hash).await.unwrap();
                println!("removed {}", listed.hash);
            }
        }
    });
}

#[test]
fn killed_while_something_goes() {
    let folder = TempDir::new().unwrap();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "policy::lets_go_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut added, mut removed) = (0, None);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            added += u64::from(line.contains("added "));
            if let Some((_, hash)) = line.split_once("removed ") {
                removed = Some(hash.parse::<Hash>().unwrap());
            }
            // From here on each new object evicts another one.
            if added > ROOM + round && removed.is_some() {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let count = agree(folder.path());
        assert!((1..=ROOM as usize).contains(&count), "{count}");
        runtime().block_on(async {
            let objects = open(folder.path(), &small()).await;
            assert!(objects.policy().is_pinned(&Hash::new(bytes(SIZE, 5))));
            assert!(objects.policy().was_removed(&removed.expect("late: one was removed")));
            objects.store().shutdown().await.unwrap();
        });
    }
}

/// A store that was interrupted between two steps: the policy has more, or fewer, objects than the
/// store.
#[test]
fn they_agree_after_each_step() {
    let runtime = runtime();
    let folder = TempDir::new().unwrap();
    runtime.block_on(async {
        let objects = open(folder.path(), &small()).await;
        for seed in 0..4 {
            add(&objects, &bytes(SIZE, seed), ObjectKind::Loose).await.unwrap();
        }
        // Selected for eviction, and not deleted yet.
        objects.policy().evict(1).unwrap();
        // In the policy, without a tag.
        objects.policy().insert(Hash::new(b"never came"), 10, ObjectKind::Pinned).unwrap();
        // In the store, unknown to the policy.
        objects.store().blobs().add_bytes(bytes(SIZE, 50)).temp_tag().await.unwrap().leak();
        // With a tag, from a version before the policy existed.
        let tag = objects.store().blobs().add_bytes(bytes(SIZE, 51)).temp_tag().await.unwrap();
        let name = format!("object/{}", tag.hash().to_hex());
        objects.store().tags().set(name, tag.hash()).await.unwrap();
        objects.store().shutdown().await.unwrap();
    });
    drop(runtime);
    assert_eq!(agree(folder.path()), 4);
    assert_eq!(files(folder.path()), 4);
}
