//! The limits of a mailbox in size and time.

use std::time::Duration;

use octet_messages::courier::Wire;
use octet_messages::request::{MailboxRefusal, MailboxReply, SignedRequest};
use octet_messenger::mailbox::MailboxLimits;
use octet_node::limits::Rate;

use crate::world::{Box, ENDLESS, Party};

fn envelope(number: u8, size: usize) -> Vec<u8> {
    vec![number; size]
}

/// A mailbox of Ben's, and a function that deposits envelopes there.
fn deposits(limits: MailboxLimits) -> (Box, Party, impl FnMut(Vec<u8>) -> MailboxReply) {
    let here = Box::new(limits);
    let (ben, mut anna) = (Party::new(&[&here]), Party::new(&[&here]));
    let (place, name) = (here.place(), *ben.name.as_bytes());
    let deposit = move |envelope| {
        anna.courier().wire().request(&place, &SignedRequest::Deposit(name, envelope)).unwrap()
    };
    (here, ben, deposit)
}

const FULL: MailboxReply = MailboxReply::Refused(MailboxRefusal::Full);

#[test]
fn so_many_letters_and_so_many_bytes() {
    let (here, ben, mut deposit) =
        deposits(MailboxLimits { letters: 3, bytes: 10 << 10, ..ENDLESS });
    assert_eq!(deposit(envelope(1, 1024)), MailboxReply::Done);
    assert_eq!(deposit(envelope(2, 8192)), MailboxReply::Done);
    assert_eq!(deposit(envelope(3, 2048)), FULL);
    assert_eq!(deposit(envelope(3, 1024)), MailboxReply::Done);
    assert_eq!(deposit(envelope(4, 1024)), FULL);
    // A repeated deposit is not stored again: its answer may have been lost.
    assert_eq!(deposit(envelope(1, 1024)), MailboxReply::Done);
    assert_eq!(here.with(|mailbox| mailbox.numbers(&ben.name).unwrap()), [1, 2, 3]);
    for size in [0, 1, 1023, 1025, 3072, 100 << 10] {
        assert_eq!(
            deposit(envelope(5, size)),
            MailboxReply::Refused(MailboxRefusal::Malformed),
            "{size}"
        );
    }
}

#[test]
fn so_many_bytes_of_all() {
    let (here, mut ben, mut deposit) = deposits(MailboxLimits { all_bytes: 4 << 10, ..ENDLESS });
    ben.deliver();
    assert_eq!(deposit(envelope(1, 2048)), MailboxReply::Done);
    assert_eq!(deposit(envelope(2, 4096)), FULL);
    assert_eq!(deposit(envelope(2, 2048)), MailboxReply::Done);
    assert_eq!(deposit(envelope(3, 1024)), FULL);
    ben.fetch();
    assert_eq!(deposit(envelope(3, 4096)), MailboxReply::Done);
    let now = here.now();
    assert_eq!(here.with(|mailbox| mailbox.expire(now + 1000).unwrap()), 1);
    assert_eq!(deposit(envelope(4, 4096)), MailboxReply::Done);
}

#[test]
fn letters_go_when_their_time_has_come() {
    let (here, mut ben, mut deposit) = deposits(MailboxLimits { letters: 2, ..ENDLESS });
    ben.deliver();
    let start = here.now();
    assert_eq!(deposit(envelope(1, 1024)), MailboxReply::Done);
    here.0.borrow_mut().now = start + 500;
    assert_eq!(deposit(envelope(2, 1024)), MailboxReply::Done);
    assert_eq!(here.with(|mailbox| mailbox.expire(start + 999).unwrap()), 0);
    assert_eq!(deposit(envelope(3, 1024)), FULL);
    assert_eq!(here.with(|mailbox| mailbox.expire(start + 1000).unwrap()), 1);
    assert_eq!(here.with(|mailbox| mailbox.numbers(&ben.name).unwrap()), [2]);
    here.0.borrow_mut().now = start + 1000;
    assert_eq!(deposit(envelope(3, 1024)), MailboxReply::Done);
    // Expired messages are not returned, even before they are deleted.
    here.0.borrow_mut().now = start + 1500;
    ben.fetch();
    assert_eq!(ben.courier().person().refused(), 1, "the third alone, which is none");
}

#[test]
fn so_often_from_one_address() {
    let rate = Rate { burst: 2, interval: Duration::from_secs(10) };
    let (here, _ben, mut deposit) = deposits(MailboxLimits { deposits: rate, ..ENDLESS });
    let busy = MailboxReply::Refused(MailboxRefusal::Busy);
    let all = [1, 2, 3].map(|number| deposit(envelope(number, 1024)));
    assert_eq!(all, [MailboxReply::Done, MailboxReply::Done, busy]);
    here.0.borrow_mut().now += 10;
    assert_eq!(deposit(envelope(3, 1024)), MailboxReply::Done);
}

#[test]
fn numbers_outlive_a_mailbox_that_was_taken_away() {
    let (here, ben, mut deposit) = deposits(MailboxLimits { people: 2, ..ENDLESS });
    assert_eq!(deposit(envelope(1, 1024)), MailboxReply::Done);
    assert!(here.with(|mailbox| mailbox.remove(&ben.name).unwrap()));
    assert_eq!(deposit(envelope(2, 1024)), MailboxReply::Refused(MailboxRefusal::NoMailbox));
    // Two mailboxes exist already, and the maximum is two.
    let third = octet_node::key::PrivateKey::generate().unwrap().public();
    assert!(here.with(|mailbox| mailbox.admit(&third)).is_err());
    here.with(|mailbox| mailbox.admit(&ben.name)).unwrap();
    assert_eq!(deposit(envelope(2, 1024)), MailboxReply::Done);
    assert_eq!(here.with(|mailbox| mailbox.numbers(&ben.name).unwrap()), [2]);
}
