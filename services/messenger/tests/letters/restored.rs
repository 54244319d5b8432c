//! A person who has lost the folder and restores a backup: contacts see one person, and each text
//! once and in order.

use octet_messages::courier::CourierError;
use octet_messages::limits::RESEND_INTERVAL;
use octet_messages::request::MailboxRefusal;
use octet_messenger::mailbox::MailboxLimits;

use crate::world::{Box, ENDLESS, Party};

/// Messages do not expire in these tests.
const PATIENT: MailboxLimits = MailboxLimits { lifetime: 1 << 40, ..ENDLESS };

/// Two people who have exchanged messages.
fn pair(homes: usize, boxes: &[&Box]) -> (Party, Party) {
    let (mut anna, mut ben) = (Party::with(homes, boxes), Party::with(homes, boxes));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    ben.knows(&mut anna, "anna");
    anna.write(ben.name, "hello");
    anna.deliver();
    ben.fetch();
    ben.write(anna.name, "hello");
    ben.deliver();
    anna.fetch();
    ben.fetch();
    (anna, ben)
}

fn later(at: &Box) {
    at.0.borrow_mut().now += 1;
}

#[test]
fn both_write_on() {
    let here = Box::new(PATIENT);
    let (mut anna, mut ben) = pair(1, &[&here]);
    let backup = anna.backup();
    // Messages after the backup, and the acknowledgements of them, are lost with the folder.
    ben.write(anna.name, "one");
    ben.deliver();
    anna.fetch();
    anna.write(ben.name, "two");
    anna.deliver();
    ben.fetch();
    assert_eq!(anna.received(ben.name), ["hello", "one"]);
    // Waiting messages are sealed for lost keys, too.
    for text in ["three", "four"] {
        ben.write(anna.name, text);
    }
    ben.deliver();
    later(&here);
    let mut anna = anna.restore(&backup);
    anna.deliver();
    anna.fetch();
    assert!(anna.received(ben.name).is_empty());
    anna.write(ben.name, "five");
    anna.deliver();
    ben.fetch();
    anna.fetch();
    assert_eq!(anna.received(ben.name), ["three", "four"]);
    assert_eq!(ben.received(anna.name), ["hello", "two", "five"]);
    ben.write(anna.name, "six");
    ben.deliver();
    anna.fetch();
    ben.fetch();
    assert_eq!(anna.received(ben.name), ["three", "four", "six"]);
    assert_eq!(anna.courier().person().unacknowledged(&ben.name), 0);
    assert_eq!(ben.courier().person().unacknowledged(&anna.name), 0);
}

/// She loses her folder repeatedly, including the one that was restored from the same backup
/// before.
#[test]
fn whenever_it_is_lost_each_text_is_shown_once_and_in_order() {
    for seed in 0..2 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let here = Box::new(PATIENT);
        let (mut anna, mut ben) = pair(1, &[&here]);
        let mut backup = anna.backup();
        let (mut by_anna, mut by_ben) = (vec!["hello".to_owned()], vec!["hello".to_owned()]);
        let (mut shown, mut lives) = (vec![], 1);
        for step in 0..80 {
            later(&here);
            match chance.u32(..12) {
                0..3 => {
                    by_anna.push(format!("{step}"));
                    anna.write(ben.name, &format!("{step}"));
                    anna.deliver();
                }
                3..6 => {
                    by_ben.push(format!("{step}"));
                    ben.write(anna.name, &format!("{step}"));
                    ben.deliver();
                }
                6..8 => anna.fetch(),
                8..10 => ben.fetch(),
                10 => backup = anna.backup(),
                _ => {
                    shown.extend(anna.received(ben.name));
                    anna = anna.restore(&backup);
                    anna.deliver();
                    lives += 1;
                }
            }
        }
        for _ in 0..4 {
            later(&here);
            anna.fetch();
            ben.fetch();
        }
        assert!(lives > 2, "seed {seed}");
        shown.extend(anna.received(ben.name));
        assert_eq!(shown, by_ben, "seed {seed}");
        assert_eq!(ben.received(anna.name), by_anna, "seed {seed}");
        assert_eq!(anna.courier().person().unacknowledged(&ben.name), 0);
        assert_eq!(ben.courier().person().unacknowledged(&anna.name), 0);
    }
}

#[test]
fn what_lies_elsewhere_from_before_is_shown_late() {
    let (here, there) = (Box::new(PATIENT), Box::new(PATIENT));
    let (mut anna, mut ben) = pair(2, &[&here, &there]);
    let backup = anna.backup();
    here.is_off(true);
    for text in ["one", "two"] {
        anna.write(ben.name, text);
    }
    anna.deliver_where_it_can();
    later(&here);
    let mut anna = anna.restore(&backup);
    here.is_off(false);
    there.is_off(true);
    anna.write(ben.name, "three");
    anna.deliver_where_it_can();
    ben.fetch_where_it_can();
    assert_eq!(ben.received(anna.name), ["hello", "three"]);
    there.is_off(false);
    ben.fetch();
    let all = ["hello", "three", "one", "two"];
    assert_eq!(ben.received(anna.name), all);
    // He continues in her current session.
    ben.write(anna.name, "four");
    ben.deliver();
    anna.deliver();
    anna.fetch();
    ben.fetch();
    assert_eq!(anna.received(ben.name), ["four"]);
    assert_eq!(ben.received(anna.name), all);
}

#[test]
fn what_waits_for_a_text_that_is_lost_waits_no_more() {
    let here = Box::new(PATIENT);
    let (mut anna, mut ben) = pair(1, &[&here]);
    let backup = anna.backup();
    let start = here.0.borrow().heard.len();
    for text in ["one", "two", "three"] {
        anna.write(ben.name, text);
    }
    anna.deliver();
    let envelopes = Party::envelopes(&here, start);
    let [one, two, three] = &envelopes[..] else { panic!("{}", envelopes.len()) };
    ben.read(two);
    assert_eq!(ben.received(anna.name), ["hello"]);
    later(&here);
    let mut anna = anna.restore(&backup);
    anna.write(ben.name, "four");
    let start = here.0.borrow().heard.len();
    anna.deliver();
    for envelope in Party::envelopes(&here, start) {
        ben.read(&envelope);
    }
    assert_eq!(ben.received(anna.name), ["hello", "two", "four"]);
    // Nothing is shown out of order.
    ben.read(one);
    ben.read(three);
    assert_eq!(ben.received(anna.name), ["hello", "two", "four", "three"]);
}

#[test]
fn who_was_before_is_let_in_no_more() {
    let here = Box::new(PATIENT);
    let (mut anna, ben) = pair(1, &[&here]);
    anna.fetch();
    let backup = anna.backup();
    later(&here);
    let mut restored = anna.restore(&backup);
    restored.deliver();
    let refused = anna.courier().fetch(here.now());
    assert!(matches!(refused, Err(CourierError::Mailbox(MailboxRefusal::Forged))), "{refused:?}");
    restored.fetch();
    assert_eq!(restored.courier().person().contacts().next(), Some((&ben.name, "ben")));
}

/// A person who writes to her for the first time gets keys that she has.
#[test]
fn a_stranger_begins_with_new_keys() {
    let here = Box::new(PATIENT);
    let (mut anna, mut carl) = (Party::new(&[&here]), Party::new(&[&here]));
    anna.deliver();
    carl.deliver();
    let backup = anna.backup();
    later(&here);
    let mut anna = anna.restore(&backup);
    anna.deliver();
    carl.knows(&mut anna, "anna");
    carl.write(anna.name, "hello");
    carl.deliver();
    anna.fetch();
    assert_eq!(anna.received(carl.name), ["hello"]);
}

/// Messages of unknown senders were sealed for lost keys, and are requested again only once the
/// sender is added.
#[test]
fn who_is_not_in_the_back_up_is_heard_once_they_are_added() {
    let here = Box::new(PATIENT);
    let (mut anna, mut carl) = (Party::new(&[&here]), Party::new(&[&here]));
    anna.deliver();
    carl.deliver();
    let backup = anna.backup();
    carl.knows(&mut anna, "anna");
    carl.write(anna.name, "hello");
    carl.deliver();
    later(&here);
    let mut anna = anna.restore(&backup);
    anna.deliver();
    anna.fetch();
    assert!(anna.history().is_empty() && anna.courier().person().refused() == 1);
    anna.knows(&mut carl, "carl");
    here.0.borrow_mut().now += RESEND_INTERVAL;
    carl.deliver();
    anna.fetch();
    carl.fetch();
    anna.fetch();
    assert_eq!(anna.received(carl.name), ["hello"]);
}
