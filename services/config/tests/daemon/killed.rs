//! Kills config at each externally visible step.

use octet_node::control::By;
use octet_node::control::settings::{APPLY, CHECK};
use serde_json::json;

use crate::host::{Host, IMAGE, Mood};
use crate::text;

/// Kills it on `host` during the first call of `verb`.
fn kill_at(host: &Host, verb: &'static str) {
    let config = host.start();
    host.set(Mood::Hangs(verb));
    std::thread::scope(|scope| {
        let applied = scope.spawn(|| config.apply(By::Port, &text("one"), json!({})));
        host.wait_until_it_hangs();
        config.end();
        assert!(applied.join().unwrap().is_err());
    });
    host.set(Mood::Accepts);
}

#[test]
fn before_or_after_it_is_kept() {
    for (verb, copies) in [(CHECK, vec![]), (APPLY, vec!["00000000000000000001.undone".to_owned()])]
    {
        let host = Host::new();
        kill_at(&host, verb);
        let before = host.copies();
        assert_eq!(before.len(), copies.len(), "{before:?}");
        for _ in 0..2 {
            let config = host.start();
            assert_eq!(config.text(), IMAGE, "{verb}");
            assert_eq!(host.unit.has(), Some(json!({ "keys": [] })), "{verb}");
            assert_eq!(host.copies(), copies, "{verb}");
        }
        // The next start works.
        let config = host.start();
        let applied = config.apply(By::Port, &text("two"), json!({})).unwrap();
        assert_eq!(applied["applied"], 1 + copies.len());
    }
}

#[test]
fn before_and_after_it_is_confirmed() {
    let host = Host::new();
    let config = host.start();
    config.apply(By::Port, &text("one"), json!({})).unwrap();
    assert_eq!(config.text(), text("one"));
    config.kill();
    let config = host.start();
    assert_eq!(config.text(), IMAGE);
    assert_eq!(host.unit.has(), Some(json!({ "keys": [] })));
    config.apply(By::Port, &text("one"), json!({})).unwrap();
    config.call(By::Port, "confirm", json!({})).unwrap();
    config.kill();
    let config = host.start();
    assert_eq!(config.text(), text("one"));
    assert_eq!(host.unit.has().unwrap()["keys"][0]["name"], "one");
}

#[test]
fn while_it_is_put_back() {
    let host = Host::new();
    let config = host.start();
    config.apply(By::Port, &text("one"), json!({})).unwrap();
    host.set(Mood::Hangs(APPLY));
    std::thread::scope(|scope| {
        let back = scope.spawn(|| config.call(By::Port, "rollback", json!({})));
        host.wait_until_it_hangs();
        config.end();
        assert!(back.join().unwrap().is_err());
    });
    host.set(Mood::Accepts);
    let config = host.start();
    assert_eq!((config.text().as_str(), host.unit.has()), (IMAGE, Some(json!({ "keys": [] }))));
}
