//! The first message to a person who is offline.

use std::time::Duration;

use octet_messages::courier::{CourierError, Wire};
use octet_messages::prekey::{Prekey, PrekeyUse};
use octet_messages::request::{MailboxRefusal, MailboxReply, SignedRequest};
use octet_messenger::mailbox::MailboxLimits;
use octet_node::limits::Rate;

use crate::world::{Box, ENDLESS, Party};

#[test]
fn a_first_letter_waits_and_is_answered() {
    let (here, there) = (Box::new(ENDLESS), Box::new(ENDLESS));
    let (mut anna, mut ben) = (Party::new(&[&here, &there]), Party::new(&[&there, &here]));
    // He has published keys at his mailbox, and is offline now.
    ben.deliver();
    anna.knows(&mut ben, "ben");
    ben.stop();
    let to = ben.name;
    for text in ["hello", "are you there?"] {
        anna.write(to, text);
    }
    anna.deliver();
    assert_eq!(anna.courier().person().unacknowledged(&to), 2);
    assert_eq!(there.with(|mailbox| mailbox.numbers(&to).unwrap()), [1, 2]);
    ben.fetch();
    assert_eq!(ben.received(anna.name), ["hello", "are you there?"]);
    assert!(there.with(|mailbox| mailbox.numbers(&to).unwrap()).is_empty());
    // An unknown sender gets no acknowledgement before the first answer.
    anna.fetch();
    assert_eq!(anna.courier().person().unacknowledged(&to), 2);
    ben.write(anna.name, "yes");
    ben.deliver();
    anna.fetch();
    assert_eq!(anna.received(to), ["yes"]);
    assert_eq!(anna.courier().person().unacknowledged(&to), 0);
    // The numbers continue.
    anna.write(to, "good");
    anna.deliver();
    assert_eq!(
        there.with(|mailbox| mailbox.numbers(&to).unwrap()).len(),
        2,
        "a text and a receipt"
    );
    assert_eq!(there.with(|mailbox| mailbox.numbers(&to).unwrap())[0], 3);
    ben.fetch();
    assert_eq!(ben.received(anna.name).last().unwrap(), "good");
}

#[test]
fn both_write_first() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    ben.knows(&mut anna, "anna");
    for round in 0..4 {
        anna.write(ben.name, &format!("a{round}"));
        ben.write(anna.name, &format!("b{round}"));
        anna.deliver();
        ben.deliver();
        anna.fetch();
        ben.fetch();
    }
    assert_eq!(ben.received(anna.name), ["a0", "a1", "a2", "a3"]);
    assert_eq!(anna.received(ben.name), ["b0", "b1", "b2", "b3"]);
}

#[test]
fn with_the_fallback_key_when_all_others_are_used_up() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    let mut carl = Party::new(&[&here]);
    for party in [&mut anna, &mut ben, &mut carl] {
        party.deliver();
    }
    let to = ben.name;
    let mut claim = || {
        let (place, request) = (here.place(), SignedRequest::Claim(*to.as_bytes()));
        let Ok(MailboxReply::Claimed(_, prekey)) = anna.courier().wire().request(&place, &request)
        else {
            panic!("it has keys")
        };
        Prekey::from_bytes(&prekey).unwrap()
    };
    let mut numbers: Vec<u64> = (0..50)
        .map(|_| {
            let prekey = claim();
            assert_eq!(prekey.usage, PrekeyUse::OneTime);
            prekey.number
        })
        .collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 50, "each is given once");
    let fallback = claim();
    assert_eq!(fallback.usage, PrekeyUse::Fallback);
    assert_eq!(claim(), fallback);
    for writer in [&mut anna, &mut carl] {
        writer.knows(&mut ben, "ben");
        writer.write(to, "by the last key");
        writer.deliver();
    }
    ben.fetch();
    for writer in [&anna, &carl] {
        assert_eq!(ben.received(writer.name), ["by the last key"]);
    }
    // He has published new ones.
    let keys = here.with(|mailbox| mailbox.residents().unwrap());
    assert_eq!(keys.iter().find(|one| one.name == to).unwrap().keys, 50);
}

#[test]
fn who_claims_too_often_gets_the_fallback_key_and_then_nothing() {
    let limits = MailboxLimits {
        keys_of: Rate { burst: 2, interval: Duration::from_secs(60) },
        claims: Rate { burst: 4, interval: Duration::from_secs(1) },
        ..ENDLESS
    };
    let here = Box::new(limits);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    ben.deliver();
    let to = ben.name;
    let mut claim = || {
        let (place, request) = (here.place(), SignedRequest::Claim(*to.as_bytes()));
        match anna.courier().wire().request(&place, &request).unwrap() {
            MailboxReply::Claimed(_, prekey) => Ok(Prekey::from_bytes(&prekey).unwrap().usage),
            answer => Err(answer),
        }
    };
    let busy = Err(MailboxReply::Refused(MailboxRefusal::Busy));
    let all: Vec<_> = (0..5).map(|_| claim()).collect();
    let (once, last) = (Ok(PrekeyUse::OneTime), Ok(PrekeyUse::Fallback));
    assert_eq!(all, [once.clone(), once.clone(), last.clone(), last, busy]);
    here.0.borrow_mut().now += 60;
    assert_eq!(claim(), once);
}

#[test]
fn who_has_no_mailbox_is_told() {
    let (here, there) = (Box::new(ENDLESS), Box::new(ENDLESS));
    let (mut anna, mut ben) = (Party::new(&[&here, &there]), Party::new(&[&there]));
    anna.deliver();
    there.with(|mailbox| mailbox.remove(&ben.name).unwrap());
    let now = here.now();
    let left = ben.courier().deliver(now).unwrap();
    assert!(matches!(left[..], [CourierError::Mailbox(MailboxRefusal::NoMailbox)]), "{left:?}");
    anna.knows(&mut ben, "ben");
    anna.write(ben.name, "hello");
    let left = anna.courier().deliver(now).unwrap();
    assert!(matches!(left[..], [CourierError::Mailbox(MailboxRefusal::NoMailbox)]), "{left:?}");
    // The request is retried.
    there.with(|mailbox| mailbox.admit(&ben.name)).unwrap();
    ben.deliver();
    anna.deliver();
    ben.fetch();
    assert_eq!(ben.received(anna.name), ["hello"]);
}
