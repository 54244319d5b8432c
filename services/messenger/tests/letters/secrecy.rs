//! What a mailbox, an eavesdropper and a thief can learn.

use octet_messages::courier::Wire;
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_messages::store::PersonStore;

use crate::world::{Box, ENDLESS, Party, folder};

const TEXT: &str = "the meeting is at the old mill";

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_mailbox_learns_neither_what_is_said_nor_by_whom() {
    let (here, there) = (Box::new(ENDLESS), Box::new(ENDLESS));
    let (mut anna, mut ben) = (Party::new(&[&here, &there]), Party::new(&[&there, &here]));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    anna.write(ben.name, TEXT);
    anna.deliver();
    let card = here.with(|mailbox| {
        let request = SignedRequest::Claim(*anna.name.as_bytes());
        let mut visit = octet_messenger::mailbox::Visit::new([127, 0, 0, 1].into());
        match mailbox.handle(&mut visit, request, 0) {
            MailboxReply::Claimed(card, _) => {
                octet_messages::card::ContactCard::from_bytes(&card).unwrap()
            }
            answer => panic!("{answer:?}"),
        }
    });
    // Her name, her signing key, the keys of her sessions and envelopes, and her text.
    let name = anna.name.to_string();
    let secrets: [&[u8]; 6] = [
        anna.name.as_bytes(),
        name.as_bytes(),
        card.key().as_bytes().as_slice(),
        &card.details().identity,
        &card.details().seal,
        TEXT.as_bytes(),
    ]
    .map(|bytes| &*bytes.to_vec().leak());
    let seen = |secret: &[u8]| {
        let wire = there.0.borrow().heard.iter().any(|bytes| has(bytes, secret));
        [wire, has(&there.file(), secret)]
    };
    for secret in secrets {
        assert_eq!(seen(secret), [false; 2], "{}", String::from_utf8_lossy(secret));
    }
    assert_eq!(seen(ben.name.as_bytes()), [true; 2], "whose the mailbox is, is known");
    assert_eq!(seen(&Party::last_envelope(&there)), [true; 2]);

    // The same search finds these in unsealed data.
    let mut open = secrets.concat();
    open.resize(1024, 0);
    let deposit = SignedRequest::Deposit(*ben.name.as_bytes(), open);
    assert_eq!(anna.courier().wire().request(&there.place(), &deposit), Ok(MailboxReply::Done));
    for secret in secrets {
        assert_eq!(seen(secret), [true; 2]);
    }
    // The receiver decrypts the envelope.
    ben.fetch();
    assert_eq!(ben.received(anna.name), [TEXT]);
    assert_eq!(ben.courier().person().refused(), 1);
}

/// Both have the same mailbox, which sees each of them as an owner and as an anonymous sender.
#[test]
fn who_leaves_letters_is_not_who_fetches_them() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    ben.knows(&mut anna, "anna");
    for round in 0..3 {
        anna.write(ben.name, &format!("a{round}"));
        ben.write(anna.name, &format!("b{round}"));
        for party in [&mut anna, &mut ben] {
            party.deliver();
            party.fetch();
        }
    }
    assert_eq!(ben.received(anna.name).len(), 3);
    let visits = here.0.borrow().visits.clone();
    let count = |kind: [bool; 2]| visits.iter().filter(|visit| **visit == kind).count();
    assert!(count([true, false]) >= 6 && count([false, true]) >= 6, "{visits:?}");
    assert_eq!(count([true, true]), 0, "{visits:?}");
}

#[test]
fn sizes_tell_little() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    ben.deliver();
    anna.deliver();
    anna.knows(&mut ben, "ben");
    let mut size = |text: &str| {
        anna.write(ben.name, text);
        anna.deliver();
        Party::last_envelope(&here).len()
    };
    assert_eq!(["a", &"b".repeat(100), &"c".repeat(200)].map(&mut size), [1024; 3]);
    assert_eq!(size(&"d".repeat(1000)), 2048);
    assert_eq!(size(&"e".repeat(32 << 10)), 64 << 10);
}

#[test]
fn files_tell_nothing_without_the_key() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    ben.deliver();
    anna.knows(&mut ben, "ben");
    anna.write(ben.name, TEXT);
    anna.deliver();
    anna.stop();
    let rows = std::fs::read(anna.folder.path().join("rows")).unwrap();
    assert!(!has(&rows, TEXT.as_bytes()) && !has(&rows, ben.name.as_bytes()));
    assert!(!has(&rows, anna.name.as_bytes()));
    assert!(PersonStore::open(anna.folder.path(), [7; 32]).is_err());
    assert_eq!(anna.history()[0].text, TEXT);
}

/// A thief has copied all files, and knows the passphrase.
#[test]
fn a_thief_reads_nothing_older_and_is_locked_out() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = (Party::new(&[&here]), Party::new(&[&here]));
    anna.deliver();
    ben.deliver();
    anna.knows(&mut ben, "ben");
    ben.knows(&mut anna, "anna");
    let say = |anna: &mut Party, ben: &Party, text: &str| {
        anna.write(ben.name, text);
        let now = here.now();
        let left = anna.courier().deliver(now).unwrap();
        assert!(left.is_empty(), "{left:?}");
        Party::last_envelope(&here)
    };
    let older = say(&mut anna, &ben, "before");
    ben.fetch();
    ben.write(anna.name, "and back");
    ben.deliver();
    anna.fetch();
    ben.fetch();
    // Now the folder is stolen.
    ben.stop();
    let stolen = folder();
    for file in ["rows", "keys"] {
        std::fs::copy(ben.folder.path().join(file), stolen.path().join(file)).unwrap();
    }
    let mut thief = Party::new(&[&here]);
    let own = std::mem::replace(&mut thief.folder, stolen);
    thief.take_key(&ben);
    let next = say(&mut anna, &ben, "just after");
    ben.fetch();
    ben.write(anna.name, "I have it");
    ben.deliver();
    anna.fetch();
    let after = say(&mut anna, &ben, "after a round trip");
    ben.fetch();
    let all = ["before", "just after", "after a round trip"];
    assert_eq!(ben.received(anna.name), all);
    // The thief can read the next text: this proves that the copy works.
    thief.read(&next);
    assert_eq!(thief.received(anna.name), all[..2], "one from the history, and one more");
    let refused = thief.courier().person().refused();
    thief.read(&older);
    thief.read(&after);
    assert_eq!(thief.courier().person().refused(), refused + 2);
    assert_eq!(thief.received(anna.name), all[..2]);
    drop(own);
}
