//! A box that stores the maximum of answers for its contacts, with the memory limit of its unit.

use std::fs;

use octet_appliance::UnitSource;
use octet_messages::invite::Invite;
use octet_messages::limits::{MAX_CONTACTS, MAX_TEXT};
use octet_messages::person::{EventError, PersonEvent};
use octet_messages::quic::now;
use octet_messages::store::PersonStore;
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use serde_json::json;

use crate::Host;
use crate::bot::Operator;
use crate::gate::Gate;

/// A bound on the memory that clients can fill, in bytes: more than the limit of the unit.
const MAX: usize = 128 << 20;

/// `memory_max` in its unit file, in bytes.
fn memory() -> u64 {
    let text = include_str!("../../unit.toml").to_owned();
    let unit = UnitSource::parse("unit.toml".into(), text).unwrap().unit;
    unit.limits.memory_max.unwrap().get()
}

/// Creates the maximum number of contacts but one, with the maximum of unfetched answers. Returns
/// one of them, and the size of all answers in bytes.
fn fill(host: &Host) -> (PublicKey, usize) {
    let folder = host.folder.path().join("state/bot");
    let secret = fs::read(folder.join("secret")).unwrap().try_into().unwrap();
    let store = PersonStore::open(&folder, secret).unwrap();
    let mut person = store.load().unwrap();
    let names: Vec<_> =
        (1..MAX_CONTACTS).map(|_| PrivateKey::generate().unwrap().public()).collect();
    let (mut changes, mut bytes) = (vec![], 0);
    for name in &names {
        let invite = Invite { name: *name, places: vec![] };
        changes.extend(person.step(PersonEvent::Add(invite, "ben".to_owned()), now()).unwrap());
        while bytes < MAX {
            let answer = PersonEvent::Notify(*name, "x".repeat(MAX_TEXT));
            match person.step(answer, now()) {
                Ok(more) => changes.extend(more),
                Err(EventError::OutboxFull) => break,
                Err(refused) => panic!("{refused}"),
            }
            bytes += MAX_TEXT;
        }
        store.write(&std::mem::take(&mut changes)).unwrap();
    }
    (names[0], bytes)
}

#[test]
fn it_lives_and_serves_others() {
    let mut host = Host::new();
    let gate = Gate::start(&host.folder.path().join("gate.sock"));
    let place = host.start("127.0.0.1:0");
    let mut anna = Operator::new(&host, &place, "anna");
    host.stop();
    let (ben, bytes) = fill(&host);
    println!("{bytes} bytes of answers for {} people", MAX_CONTACTS - 1);

    host.memory = Some(memory());
    assert_eq!(host.start(&place.addresses[0].to_string()), place);
    // There is no room for an answer, until an operator makes the node forget a contact.
    host.ask("forget", json!({ "name": ben.to_string() }));
    anna.write(&anna.sign("stats"));
    assert!(anna.answers(1).pop().unwrap().contains("stats"));
    drop(gate);
    host.stop();
}
