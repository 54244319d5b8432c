//! A service, and a `lan` that the test plays.

use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};

use octet_control::Request;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tempfile::TempDir;

use super::*;
use crate::Peer;

struct Lan {
    _folder: TempDir,
    listener: UnixListener,
    socket: PathBuf,
}

impl Lan {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("lan.sock");
        Self { listener: UnixListener::bind(&socket).unwrap(), socket, _folder: folder }
    }

    /// The next call, and its names.
    fn asked(&self) -> (Peer, u64, ServiceNames) {
        Self::asked_by(self.listener.accept().unwrap().0)
    }

    fn asked_by(stream: UnixStream) -> (Peer, u64, ServiceNames) {
        let mut peer = Peer::new(stream);
        let Request { id, verb, args, .. } = peer.next_request().unwrap().unwrap();
        assert_eq!(verb, REGISTER);
        (peer, id, parse(args["names"].as_str().unwrap()).unwrap())
    }

    fn keep(&self, names: ServiceNames) -> (NameRegistration, Receiver<NamesUpdate>) {
        let (sender, news) = channel();
        let tell = move |it| drop(sender.send(it));
        (register(self.socket.clone(), names, tell).unwrap(), news)
    }
}

fn names(of: &[&str]) -> ServiceNames {
    of.iter().map(|name| ((*name).to_owned(), vec!["10.20.3.2".parse().unwrap()])).collect()
}

fn told(news: &Receiver<NamesUpdate>) -> bool {
    matches!(news.recv().unwrap(), NamesUpdate::Told)
}

#[test]
fn a_lan_that_is_started_again_is_told_again() {
    let lan = Lan::new();
    let (_kept, news) = lan.keep(names(&["cache.octet"]));
    for _ in 0..3 {
        let (mut peer, id, asked) = lan.asked();
        assert_eq!(asked, names(&["cache.octet"]));
        peer.item(id, 1.into()).unwrap();
        assert!(told(&news));
        drop(peer);
        assert!(!told(&news));
    }
}

#[test]
fn others_take_their_place_without_a_gap() {
    let lan = Lan::new();
    let (kept, news) = lan.keep(names(&["old.cache.octet"]));
    let (stream, _) = lan.listener.accept().unwrap();
    let (mut first, id, _) = Lan::asked_by(stream.try_clone().unwrap());
    first.item(id, 1.into()).unwrap();
    assert!(told(&news));
    kept.set(names(&["new.cache.octet"]));
    let (mut second, id, asked) = lan.asked();
    assert_eq!(asked, names(&["new.cache.octet"]));
    // A refused registration changes nothing: the first connection stays open while others are tried.
    let refused = Failure::new(FailureCode::BadArgument, "no", "say others");
    second.end(id, Err(refused)).unwrap();
    let NamesUpdate::Not(why) = news.recv().unwrap() else { panic!("refused") };
    assert!(why.contains("no"), "{why}");
    let read = recv(&stream, &mut [0; 1], RecvFlags::DONTWAIT);
    assert_eq!(read.map(|(count, _)| count), Err(Errno::WOULDBLOCK));
    let (mut third, id, asked) = lan.asked();
    assert_eq!(asked, names(&["new.cache.octet"]));
    third.item(id, 1.into()).unwrap();
    assert!(told(&news));
    // Now it is closed, and the third stays until the registration is dropped.
    assert!(first.next_request().unwrap().is_none());
    drop(kept);
    assert!(third.next_request().unwrap().is_none());
    assert!(news.recv().is_err(), "the thread has ended");
}

#[test]
fn names_are_an_object() {
    assert_eq!(parse(r#"{"cache.octet": ["10.20.3.2"]}"#).unwrap(), names(&["cache.octet"]));
    for wrong in ["", "[]", "{", r#"{"cache.octet": "10.20.3.2"}"#, r#"{"cache.octet": ["x"]}"#] {
        assert_eq!(parse(wrong).unwrap_err().code, FailureCode::BadArgument, "{wrong}");
    }
}

proptest! {
    #[test]
    fn what_is_told_is_read(names in btree_map("[a-z0-9.]{1,20}", vec(any::<IpAddr>(), 0..4), 0..8)) {
        prop_assert_eq!(parse(&json!(names).to_string()).unwrap(), names);
    }

    #[test]
    fn never_panics(text in r#"[\[\]{}":,.0-9a-f\\]{0,60}"#) {
        let _ = parse(&text);
    }
}
