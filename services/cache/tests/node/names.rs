//! Names: records spread from the node that has signed them to others, are never replaced by older
//! ones, and expire.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use iroh_blobs::Hash;
use octet_appliance::NamePath;
use octet_cache::names::{
    NameEntry, NameRecord, NameStoreError, PersistedNames, ResolveOrigin, Unresolved, now,
};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;
use serde_json::json;
use tempfile::TempDir;

use crate::host::{Node, certified, limits, runtime, until};
use crate::killed::{moment, soak};
use crate::request::get;
use crate::verbs::{args, connect, start_at};

const HOUR: Duration = Duration::from_secs(3600);

fn at(text: &str) -> NamePath {
    text.parse().unwrap()
}

fn url(node: PublicKey, path: &str) -> String {
    format!("/n/{node}/{path}")
}

/// A record for the object with the content `what`.
fn record(own: &Certified, what: &[u8], sequence: u64, expires: u64) -> NameRecord {
    let entry = NameEntry { path: at("a/b.html"), hash: Hash::new(what), sequence, expires };
    NameRecord::sign(entry, own.certificate.clone(), &own.key).unwrap()
}

#[test]
fn published_here_and_resolved_there_when_its_node_is_off() {
    let runtime = runtime();
    let nodes = [(); 3].map(|()| runtime.block_on(Node::start(limits())));
    let [home, two, three] = &nodes;
    two.peers.send_replace(vec![two.as_peer(2), home.as_peer(1)]);
    three.peers.send_replace(vec![two.as_peer(2), three.as_peer(3)]);
    let name = url(home.node, "site/index.html");
    let answer = get(two.http, &name, &[]);
    assert_eq!((answer.code, answer.header("cache-control")), (404, "no-store"));

    let hash = runtime.block_on(home.add(b"<p>first")).hash;
    let path = || at("site/index.html");
    let first = runtime.block_on(home.names.publish(path(), hash, HOUR, false)).unwrap();
    // A node that has resolved the name a moment ago answers from its cache.
    let other = url(home.node, "site/new.html");
    let record =
        runtime.block_on(home.names.publish(at("site/new.html"), hash, HOUR, false)).unwrap();
    assert_eq!((first.entry().sequence, record.entry().sequence), (1, 1));
    let answer = get(two.http, &other, &[]);
    assert_eq!((answer.code, &answer.body[..]), (200, &b"<p>first"[..]));
    assert_eq!(answer.header("cache-control"), "public, max-age=60, must-revalidate");
    let tag = answer.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", hash.to_hex()));
    let answer = get(two.http, &other, &[("If-None-Match", &tag)]);
    assert_eq!((answer.code, answer.body.len()), (304, 0));
    // The name's node is down, and another one has learned the record.
    runtime.block_on(home.endpoint.close());
    assert_eq!(get(three.http, &other, &[]).code, 200);
    assert_eq!(
        runtime
            .block_on(three.names.resolve(home.node, at("site/new.html"), ResolveOrigin::Client))
            .unwrap(),
        record
    );
    // The same path under another node's key is unknown.
    let unknown = PrivateKey::generate().unwrap().public();
    assert_eq!(get(three.http, &url(unknown, "site/new.html"), &[]).code, 404);
    for bad in ["/n/x/y".to_owned(), url(home.node, "a//b"), url(home.node, "%2e%2e")] {
        assert_eq!(get(three.http, &bad, &[]).code, 400, "{bad}");
    }
}

#[test]
fn a_new_one_takes_the_place_of_the_old_one_and_none_goes_back() {
    let runtime = runtime();
    let [home, other] = [(); 2].map(|()| runtime.block_on(Node::start(limits())));
    other.peers.send_replace(vec![home.as_peer(1)]);
    let name = url(home.node, "now");
    for (sequence, what) in [(1, &b"one"[..]), (2, b"two"), (3, b"one")] {
        let hash = runtime.block_on(home.add(what)).hash;
        let published = runtime.block_on(home.names.publish(at("now"), hash, HOUR, false)).unwrap();
        assert_eq!(published.entry().sequence, sequence);
        assert_eq!(get(home.http, &name, &[]).body, what);
    }
    assert_eq!(get(other.http, &name, &[]).body, b"one");

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("names.db");
    let owner = PrivateKey::generate().unwrap();
    let [old, new] = [1, 2].map(|epoch| certified(PrivateKey::generate().unwrap(), &owner, epoch));
    let until = now() + 1000;
    let kept = PersistedNames::open(&file).unwrap();
    kept.store(&record(&old, b"seven", 7, until)).unwrap();
    kept.store(&record(&old, b"seven", 7, until)).unwrap();
    // Nor is another record with the same sequence accepted, nor after a restart.
    drop(kept);
    let kept = PersistedNames::open(&file).unwrap();
    for (what, sequence) in [(&b"six"[..], 6), (b"other", 7)] {
        let refused = kept.store(&record(&old, what, sequence, until)).unwrap_err();
        assert!(matches!(refused, NameStoreError::Older), "{refused}");
    }
    // A record by a new key of the service is newer than all records by the old one.
    kept.store(&record(&new, b"one", 1, until)).unwrap();
    assert!(kept.store(&record(&old, b"far", 1000, until)).is_err());
    let known = kept.get(&owner.public(), &at("a/b.html")).unwrap().unwrap();
    assert_eq!(known.version(), (2, 1));
}

#[test]
fn the_newest_of_those_who_answer_and_none_that_has_expired() {
    let runtime = runtime();
    let nodes = [(); 3].map(|()| runtime.block_on(Node::start(limits())));
    let [one, two, asks] = &nodes;
    let own = certified(PrivateKey::generate().unwrap(), &PrivateKey::generate().unwrap(), 1);
    let node = own.certificate.body().node;
    one.names.store().store(&record(&own, b"old", 4, now() + 1000)).unwrap();
    two.names.store().store(&record(&own, b"new", 5, now() + 1000)).unwrap();
    asks.peers.send_replace(vec![one.as_peer(1), two.as_peer(2)]);
    let found =
        runtime.block_on(asks.names.resolve(node, at("a/b.html"), ResolveOrigin::Client)).unwrap();
    assert_eq!(found.entry().hash, Hash::new(b"new"));

    let own = certified(PrivateKey::generate().unwrap(), &PrivateKey::generate().unwrap(), 1);
    let node = own.certificate.body().node;
    one.names.store().store(&record(&own, b"past", 1, now())).unwrap();
    let past = runtime
        .block_on(asks.names.resolve(node, at("a/b.html"), ResolveOrigin::Client))
        .unwrap_err();
    assert!(matches!(past, Unresolved::Expired), "{past}");
    assert_eq!(get(asks.http, &url(node, "a/b.html"), &[]).code, 410);
    // A node does not answer, and no other node knows the name: the response does not claim that it
    // does not exist.
    let gone = runtime.block_on(Node::start(limits()));
    let silent =
        octet_cache::limits::CacheLimits { answer_timeout: Duration::from_millis(300), ..limits() };
    let asks = runtime.block_on(Node::start(silent));
    asks.peers.send_replace(vec![gone.as_peer(1)]);
    runtime.block_on(gone.endpoint.close());
    assert_eq!(get(asks.http, &url(node, "a/b.html"), &[]).code, 504);
}

#[test]
fn by_verbs() {
    let folder = TempDir::new().unwrap();
    start_at(&folder, Some(folder.path().join("state")));
    let mut client = connect(&folder.path().join("cache.sock"));
    let hash = Hash::new(b"x").to_hex().to_string();
    for (wanted, why) in [
        (json!({ "path": "a//b", "hash": hash }), "not a path"),
        (json!({ "path": "a", "hash": "12" }), "not a hash"),
        (json!({ "path": "a", "hash": hash, "ttl": 0 }), "cannot hold"),
        // No `identity` runs here.
        (json!({ "path": "a", "hash": hash }), "not certified yet"),
    ] {
        let error = client.call("publish", args(wanted)).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let key = PrivateKey::generate().unwrap().public();
    for (name, why) in [("a/b".to_owned(), "not a key"), (format!("{key}/a"), "knows this name")] {
        let error = client.call("resolve", args(json!({ "name": name }))).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// The same loop runs in the unit.
#[test]
fn a_name_does_not_expire_while_its_node_runs() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let own = node.certified.borrow().clone().unwrap();
    // More than half of an hour is over.
    let soon = now() + 100;
    node.names.store().publish(&record(&own, b"it", 1, soon), Some(3600)).unwrap();
    let known = || {
        let known = node.names.store().get(&node.node, &at("a/b.html")).unwrap().unwrap();
        known.entry().clone()
    };
    assert_eq!(known().expires, soon);
    // It looks when a name is published.
    let publish = node.names.publish(at("other"), Hash::new(b"it"), HOUR, true);
    runtime.block_on(publish).unwrap();
    runtime.block_on(until("it is renewed", || known().sequence == 2));
    assert!(known().expires > soon + 3000 && known().hash == Hash::new(b"it"));
    let names = runtime.block_on(node.names.own()).unwrap();
    assert_eq!(names.len(), 2);
}

/// The number of kills of a publisher.
const KILLS: u64 = 8;

/// The variable with the file for names of the other process in the test below.
const FILE: &str = "OCTET_TEST_NAMES";

/// The key and the node that sign the names there.
fn own() -> Certified {
    let [key, owner] = [1, 2].map(|seed| PrivateKey::from_seed([seed; 32]).unwrap());
    certified(key, &owner, 1)
}

/// Not a test of its own: the next test runs it as a process, and kills it.
#[test]
fn publishes_until_it_is_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let (kept, own) = (PersistedNames::open(Path::new(&file)).unwrap(), own());
    let node = own.certificate.body().node;
    let known = kept.get(&node, &at("a/b.html")).unwrap();
    for sequence in known.map_or(1, |known| known.entry().sequence + 1).. {
        kept.store(&record(&own, b"x", sequence, now() + 1000)).unwrap();
        println!("kept {sequence}");
    }
}

/// Each kill follows a publication, after a part of the duration of the next one.
#[test]
fn what_was_told_is_known_after_a_kill() {
    let kills = if soak() { 100 } else { KILLS };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("names.db");
    let node = own().certificate.body().node;
    let mut told = 0;
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "names::publishes_until_it_is_killed", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut count = 0;
        // The process publishes as long as its output is read.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref() {
            let line = line.unwrap();
            let Some((_, sequence)) = line.split_once("kept ") else { continue };
            told = sequence.parse::<u64>().unwrap();
            count += 1;
            if count > round % KILLS {
                break;
            }
        }
        sleep(moment(round));
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = PersistedNames::open(&file).unwrap();
        let known = kept.get(&node, &at("a/b.html")).unwrap().unwrap().entry().sequence;
        assert!(known >= told, "round {round}: {known}, and {told} was told");
        // An older record is refused.
        let older = kept.store(&record(&own(), b"y", known - 1, now() + 1000));
        assert!(matches!(older, Err(NameStoreError::Older)), "round {round}");
        told = known;
    }
    assert!(fs::metadata(&file).unwrap().len() < 4 << 20);
}
