//! End-to-end tests of identity: a process with a socket and a folder, which is killed at any
//! moment.

#![cfg(test)]

mod process;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use octet_node::certificate::Certificate;
use octet_node::control::{CallError, FailureCode, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::sub_key::{KEY, SubKey};
use process::Host;
use serde_json::{Value, json};

/// The epoch in the certificate for `key`.
fn epoch(host: &Host, key: PublicKey) -> Option<u64> {
    let mut certificate = None;
    let end = host.call_each("certify", json!({ "key": key }), |item| {
        certificate = Some(serde_json::from_value::<Certificate>(item.clone()).unwrap());
        false
    });
    assert!(end.is_ok(), "{end:?}");
    let statement = certificate?.body().clone();
    assert_eq!((statement.key, statement.unit.as_str()), (key, "gate"));
    assert_eq!(json!(statement.node), host.show()["node"]);
    Some(statement.epoch)
}

fn new_key() -> PublicKey {
    PrivateKey::generate().unwrap().public()
}

#[test]
fn one_key_of_a_service_counts() {
    let host = Host::new();
    let mut identity = host.start();
    let (one, two, three) = (new_key(), new_key(), new_key());
    assert_eq!((epoch(&host, one), epoch(&host, one)), (Some(1), Some(1)));
    assert_eq!((epoch(&host, two), epoch(&host, one)), (Some(2), None));
    host.call("rotate", json!({"unit": "gate"})).unwrap();
    assert_eq!((epoch(&host, two), epoch(&host, three)), (None, Some(3)));
    host.call("revoke", json!({"unit": "gate"})).unwrap();
    let before = host.show();
    identity.kill();
    let _identity = host.start();
    assert_eq!(host.show(), before);
    for gone in [one, two, three] {
        assert_eq!(epoch(&host, gone), None);
    }
    let keys = before["gone"].as_array().unwrap();
    assert!(keys.len() == 3 && keys.iter().all(|key| key["was"] == "revoked"), "{before}");
    let error = host.call("rotate", json!({"unit": "cache"})).unwrap_err();
    assert!(matches!(error, CallError::Failure(failure) if failure.code == FailureCode::NotFound));
}

/// Followers receive all certificates at once, and again after each change, but not after other
/// requests.
#[test]
fn all_certificates_and_each_change() {
    let host = Host::new();
    let _identity = host.start();
    let key = new_key();
    assert_eq!(epoch(&host, key), Some(1));
    let mut seen = vec![];
    let end = host.call_each("certificates", json!({}), |item| {
        let all: Vec<Certificate> = serde_json::from_value(item.clone()).unwrap();
        let keys: Vec<_> = all.iter().map(|it| (it.body().key, it.body().epoch)).collect();
        seen.push(keys);
        match seen.len() {
            1 => {
                host.show();
                assert_eq!(epoch(&host, key), Some(1));
                host.call("rotate", json!({"unit": "gate"})).unwrap();
            }
            2 => assert_eq!(epoch(&host, new_key()), Some(2)),
            _ => return false,
        }
        true
    });
    assert!(end.is_ok(), "{end:?}");
    assert_eq!((&seen[0][..], &seen[1][..]), (&[(key, 1)][..], &[][..]));
    assert_eq!((seen[2].len(), seen[2][0].1), (1, 2));
}

/// One user, such as all operators together, cannot take all connections for followers.
#[test]
fn nobody_follows_without_end() {
    fn followed(host: &Host) -> usize {
        let mut count = 0;
        let end = host.call_each("certificates", json!({}), |_| {
            count = 1 + followed(host);
            false
        });
        assert_eq!(end.is_ok(), count > 0, "{end:?}");
        count
    }
    let host = Host::new();
    let _identity = host.start();
    assert_eq!(followed(&host), 4);
    // A follower that disconnects makes room, once identity has noticed it.
    while followed(&host) == 0 {
        thread::yield_now();
    }
}

/// However often identity is killed while it writes, answered requests stay, and the node's key is
/// the same.
#[test]
fn killed_at_any_moment() {
    let host = Host::new();
    let node = {
        let _identity = host.start();
        host.show()["node"].clone()
    };
    let (mut last, mut gone) = (0, vec![]);
    let mut identity = host.start();
    for round in 0..12 {
        assert_eq!(host.show()["node"], node);
        for key in &gone {
            assert_eq!(epoch(&host, *key), None, "round {round}");
        }
        let (sender, answers) = mpsc::channel();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let sender = sender;
                while !over.load(Ordering::SeqCst) {
                    let key = new_key();
                    let mut certified = None;
                    let asked = host.call_each("certify", json!({ "key": key }), |item| {
                        certified = serde_json::from_value::<Certificate>(item.clone()).ok();
                        false
                    });
                    let Some(certificate) = asked.ok().and(certified) else { continue };
                    let epoch = certificate.body().epoch;
                    sender.send((key, epoch, false)).unwrap();
                    if host.call("rotate", json!({"unit": "gate"})).is_ok() {
                        sender.send((key, epoch, true)).unwrap();
                    }
                }
            });
            let mut take = |(key, epoch, ended)| {
                assert!(epoch > last || ended && epoch == last, "{round}: {epoch} after {last}");
                last = epoch;
                if ended {
                    gone.push(key);
                }
            };
            // The number of answers before the kill is that of the round, so that requests are in
            // progress.
            answers.iter().take(1 + round).for_each(&mut take);
            identity.kill();
            over.store(true, Ordering::SeqCst);
            // Pending requests are answered by the next process.
            identity = host.start();
            answers.iter().for_each(take);
        });
    }
    assert!(gone.len() > 10, "{}", gone.len());
}

#[test]
fn a_service_keeps_a_key_that_counts() {
    let host = Host::new();
    let mut identity = host.start();
    let open = || SubKey::open(Some(host.service_folder()), host.socket()).unwrap();
    let (sender, certified) = mpsc::channel();
    let follow = {
        let (mut service, sender) = (open(), sender.clone());
        move || service.follow(|new| sender.send(new).unwrap()).unwrap_err()
    };
    let following = thread::spawn(follow);
    let first = certified.recv().unwrap();
    assert_eq!(first.certificate.body().key, first.key.public());
    host.call("rotate", json!({"unit": "gate"})).unwrap();
    let second = certified.recv().unwrap();
    assert_ne!(second.key.public(), first.key.public());
    assert_eq!(second.certificate.body().epoch, 2);
    // Without identity, the last certificates stay valid.
    identity.kill();
    assert!(following.join().unwrap().to_string().starts_with("identity: "));
    assert_eq!(open().cached().unwrap().certificate, second.certificate);
    // A damaged key is replaced, and its certificate is not used any more.
    std::fs::write(host.service_folder().join(KEY), "octet-key-1 x").unwrap();
    let mut service = open();
    assert!(service.cached().is_none());
    let _identity = host.start();
    let following =
        thread::spawn(move || service.follow(|new| sender.send(new).unwrap()).map(drop));
    let third = certified.recv().unwrap();
    assert_eq!(third.certificate.body().epoch, 3);
    drop(_identity);
    assert!(following.join().unwrap().is_err());
}

/// The shipped program refuses the user of this test, who is no service.
#[test]
fn who_is_no_service_has_no_key() {
    let host = Host::new();
    let _identity = host.start_shipped();
    assert!(host.show()["node"].as_str().unwrap().starts_with("did:key:z6Mk"));
    let certify = host.call("certify", json!({ "key": new_key() })).unwrap_err();
    let denied =
        matches!(&certify, CallError::Failure(failure) if failure.code == FailureCode::Denied);
    assert!(denied, "{certify}");
}

#[test]
fn damage_is_told_and_not_mended() {
    for file in ["node.key", "book"] {
        let host = Host::new();
        host.start_shipped().kill();
        let path = host.state().join(file);
        let whole = std::fs::read(&path).unwrap();
        let mut identity = host.start();
        assert_eq!((epoch(&host, new_key()), &host.show()["trouble"]), (Some(1), &Value::Null));
        let node = host.show()["node"].clone();
        identity.kill();
        let book = std::fs::read(host.state().join("book")).unwrap();
        std::fs::write(&path, &whole[1..]).unwrap();
        let mut identity = host.start();
        let trouble = host.show()["trouble"].as_str().unwrap().to_owned();
        assert!(trouble.contains(file) && trouble.contains("damaged"), "{trouble}");
        assert!(host.call("certify", json!({ "key": new_key() })).is_err());
        identity.kill();
        assert_eq!(std::fs::read(&path).unwrap(), &whole[1..], "{file}");
        std::fs::write(&path, if file == "book" { book } else { whole }).unwrap();
        let _identity = host.start();
        assert_eq!(host.show()["node"], node);
    }
}
