//! A person with a new messaging key: messages with the old one start no session, but continue
//! existing ones.

use std::sync::Arc;

use octet_messages::card::UNIT;
use octet_messages::person::PersonEvent;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::PrivateKey;
use octet_node::sub_key::Certified;

use crate::world::{Box, ENDLESS, Party};

/// Certifies another key for `party`, with the epoch `epoch`.
fn renew(party: &mut Party, at: &Box, epoch: u64) {
    let (name, key) = (PrivateKey::from_seed(party.seed).unwrap(), PrivateKey::generate().unwrap());
    let (node, unit) = (name.public(), UNIT.parse().unwrap());
    let statement = KeyStatement { node, unit, key: key.public(), epoch, issued: at.now() };
    let certificate = Certificate::sign(statement, &name).unwrap();
    let event = PersonEvent::ChangeIdentity(
        Certified { key: Arc::new(key), certificate },
        vec![at.place()],
    );
    party.courier().apply(event, at.now()).unwrap();
}

/// Two people who know each other and have not written yet.
fn pair(here: &Box) -> (Party, Party) {
    let (mut anna, mut ben) = (Party::new(&[here]), Party::new(&[here]));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    ben.knows(&mut anna, "anna");
    (anna, ben)
}

#[test]
fn the_mailbox_gives_no_prekey_of_the_key_before() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = pair(&here);
    let keys = || {
        let all = here.with(|mailbox| mailbox.residents().unwrap());
        all.into_iter().find(|one| one.name == ben.name).unwrap().keys
    };
    assert_eq!(keys(), 50);
    renew(&mut ben, &here, 2);
    ben.deliver();
    for text in ["one", "two"] {
        anna.write(ben.name, text);
        anna.deliver();
    }
    ben.fetch();
    assert_eq!(ben.received(anna.name), ["one", "two"]);
}

#[test]
fn what_was_written_with_the_key_before_goes_on() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = pair(&here);
    anna.write(ben.name, "one");
    anna.deliver();
    ben.fetch();
    anna.write(ben.name, "two");
    anna.deliver();
    let before = Party::last_envelope(&here);
    renew(&mut anna, &here, 2);
    anna.deliver();
    anna.write(ben.name, "three");
    anna.deliver();
    // He receives the message with the new key first.
    ben.read(&Party::last_envelope(&here));
    ben.read(&before);
    assert_eq!(ben.received(anna.name), ["one", "two", "three"]);
}

#[test]
fn what_begins_with_the_key_before_is_written_anew() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = pair(&here);
    anna.write(ben.name, "one");
    anna.deliver();
    renew(&mut anna, &here, 2);
    anna.deliver();
    // He receives the new key when he writes.
    ben.write(anna.name, "hello");
    ben.deliver();
    let refused = ben.courier().person().refused();
    ben.fetch();
    assert_eq!(ben.courier().person().refused(), refused + 1);
    assert!(ben.received(anna.name).is_empty());
    // His client requests the text from her again.
    anna.fetch();
    ben.fetch();
    assert_eq!(ben.received(anna.name), ["one"]);
    assert_eq!(anna.received(ben.name), ["hello"]);
}
