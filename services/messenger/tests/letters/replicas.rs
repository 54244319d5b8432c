//! Two mailboxes per person: a message in both is shown once, and one mailbox is enough.

use std::collections::BTreeSet;

use octet_messages::courier::{CourierError, Wire};
use octet_messages::person::{EnvelopeContent, MailboxAction};
use octet_messages::prekey::{Prekey, PrekeyUse};
use octet_messages::request::{MailboxReply, SignedRequest};

use crate::world::{Box, ENDLESS, Party};

/// Two boxes, and two people with a mailbox at both.
fn both() -> ([Box; 2], [Party; 2]) {
    let boxes = [Box::new(ENDLESS), Box::new(ENDLESS)];
    let all = [&boxes[0], &boxes[1]];
    let mut pair = [Party::with(2, &all), Party::with(2, &all)];
    for party in &mut pair {
        party.deliver();
    }
    (boxes, pair)
}

#[test]
fn a_letter_lies_in_both_and_is_shown_once() {
    let (boxes, [mut anna, mut ben]) = both();
    anna.knows(&mut ben, "ben");
    for text in ["one", "two"] {
        anna.write(ben.name, text);
    }
    anna.deliver();
    let to = ben.name;
    for one in &boxes {
        assert_eq!(one.with(|mailbox| mailbox.numbers(&to).unwrap()), [1, 2]);
    }
    ben.fetch();
    assert_eq!(ben.received(anna.name), ["one", "two"]);
    for one in &boxes {
        assert!(one.with(|mailbox| mailbox.numbers(&to).unwrap()).is_empty());
    }
    ben.knows(&mut anna, "anna");
    ben.write(anna.name, "three");
    ben.deliver();
    anna.fetch();
    assert_eq!(anna.received(to), ["three"]);
    // Acknowledgements are not acknowledged, so the exchange ends.
    let count = || -> usize { boxes.iter().map(|one| Party::envelopes(one, 0).len()).sum() };
    let rounds = |anna: &mut Party, ben: &mut Party| {
        for _ in 0..3 {
            ben.fetch();
            anna.fetch();
        }
        count()
    };
    let quiet = rounds(&mut anna, &mut ben);
    assert_eq!(rounds(&mut anna, &mut ben), quiet);
    assert_eq!(anna.courier().person().unacknowledged(&to), 0);
    assert_eq!(ben.courier().person().unacknowledged(&anna.name), 0);
    // Two texts, one text, and the acknowledgement of that: each in both mailboxes.
    assert_eq!(quiet, 2 * (2 + 1 + 1));
}

#[test]
fn one_is_enough_for_a_first_letter_and_its_answer() {
    for dead in 0..2 {
        let (boxes, [mut anna, mut ben]) = both();
        anna.knows(&mut ben, "ben");
        let to = ben.name;
        boxes[dead].is_off(true);
        anna.write(to, "are you there?");
        let now = boxes[0].now();
        let left = anna.courier().deliver(now).unwrap();
        assert!(matches!(left[..], [CourierError::Unreached(_)]), "{left:?}");
        assert_eq!(anna.courier().person().undeposited(&to), 0, "one has it");
        let left = ben.courier().fetch(now).unwrap();
        assert!(matches!(left[..], [CourierError::Unreached(_)]), "{left:?}");
        assert_eq!(ben.received(anna.name), ["are you there?"]);
        ben.write(anna.name, "yes");
        ben.deliver_where_it_can();
        anna.fetch_where_it_can();
        assert_eq!(anna.received(to), ["yes"]);
        // It returns with the messages deposited before, and gets the same ones as the other
        // mailbox.
        boxes[dead].is_off(false);
        for _ in 0..2 {
            anna.fetch();
            ben.fetch();
        }
        assert_eq!(anna.received(to), ["yes"]);
        assert_eq!(ben.received(anna.name), ["are you there?"]);
    }
}

#[test]
fn letters_that_lie_apart_are_shown_in_their_order() {
    let (boxes, [mut anna, mut ben]) = both();
    anna.knows(&mut ben, "ben");
    anna.write(ben.name, "letter 1");
    anna.deliver();
    // Each of the other messages is in one mailbox only.
    let now = boxes[0].now();
    let mut texts = vec!["letter 1".to_owned()];
    for number in 2..=9_usize {
        texts.push(format!("letter {number}"));
        anna.write(ben.name, &texts[number - 1]);
        let (place, todo) =
            (boxes[number % 2].place(), anna.courier().person().pending_actions(now));
        let envelope = todo.into_iter().find_map(|action| match action {
            MailboxAction::Deposit { place: at, what, envelope, .. } => {
                (at == place && what == EnvelopeContent::Text(number as u64)).then_some(envelope)
            }
            _ => None,
        });
        let request = SignedRequest::Deposit(*ben.name.as_bytes(), envelope.unwrap());
        assert_eq!(anna.courier().wire().request(&place, &request), Ok(MailboxReply::Done));
    }
    boxes[0].is_off(true);
    ben.fetch_where_it_can();
    assert_eq!(ben.received(anna.name), texts[..1]);
    boxes[0].is_off(false);
    ben.fetch();
    assert_eq!(ben.received(anna.name), texts);
    // The messages that she deposits now have arrived before.
    anna.deliver();
    ben.fetch();
    assert_eq!(ben.received(anna.name), texts);
}

#[test]
fn nobody_answers() {
    let (boxes, [mut anna, _ben]) = both();
    for one in &boxes {
        one.is_off(true);
    }
    let now = boxes[0].now();
    assert!(matches!(anna.courier().fetch(now), Err(CourierError::Unreached(_))));
}

#[test]
fn each_gives_keys_that_the_other_does_not_have() {
    let (boxes, [mut anna, ben]) = both();
    let to = ben.name;
    let claimed = boxes.each_ref().map(|one| {
        let keys = (0..50).map(|_| {
            let request = SignedRequest::Claim(*to.as_bytes());
            let answer = anna.courier().wire().request(&one.place(), &request).unwrap();
            let MailboxReply::Claimed(_, prekey) = answer else { panic!("it has keys") };
            let prekey = Prekey::from_bytes(&prekey).unwrap();
            assert_eq!(prekey.usage, PrekeyUse::OneTime);
            prekey.key
        });
        keys.collect::<BTreeSet<_>>()
    });
    assert_eq!(claimed.each_ref().map(BTreeSet::len), [50, 50]);
    assert!(claimed[0].is_disjoint(&claimed[1]));
}
