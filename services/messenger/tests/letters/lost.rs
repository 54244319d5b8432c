//! Messages that no session can decrypt: they are requested again in a new session, and shown once
//! and in order.

use octet_messages::card::ContactCard;
use octet_messages::courier::Wire;
use octet_messages::envelope;
use octet_messages::letter::Letter;
use octet_messages::limits::{REQUEST_INTERVAL, RESEND_INTERVAL};
use octet_messages::request::{MailboxReply, SignedRequest};
use vodozemac::olm::{Account, SessionConfig};

use crate::world::{Box, ENDLESS, Party};

/// The number of claims.
fn claims(at: &Box) -> usize {
    let is_claim = |bytes: &&Vec<u8>| {
        matches!(SignedRequest::from_bytes(bytes), Some(SignedRequest::Claim(_)))
    };
    at.0.borrow().heard.iter().filter(is_claim).count()
}

/// Two people who have exchanged messages.
fn pair(here: &Box) -> (Party, Party) {
    let (mut anna, mut ben) = (Party::new(&[here]), Party::new(&[here]));
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
    (anna, ben)
}

/// A message is lost in the mailbox, `rounds` rounds follow, and it is deposited again. Returns the
/// number of new sessions, and the shown texts.
fn lost_and_left_again(rounds: usize) -> (usize, Vec<String>) {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = pair(&here);
    anna.write(ben.name, "lost");
    anna.deliver();
    here.0.borrow_mut().now += ENDLESS.lifetime;
    let now = here.now();
    assert_eq!(here.with(|mailbox| mailbox.expire(now).unwrap()), 1);
    for round in 0..rounds {
        anna.write(ben.name, &format!("round {round}"));
        anna.deliver();
        ben.fetch();
        ben.write(anna.name, "I wait");
        ben.deliver();
        anna.fetch();
    }
    assert_eq!(ben.received(anna.name), ["hello"], "the others wait for what is lost");
    here.0.borrow_mut().now += RESEND_INTERVAL;
    let before = claims(&here);
    for _ in 0..2 {
        anna.deliver();
        ben.fetch();
        anna.fetch();
    }
    let begun = claims(&here) - before;
    let shown = ben.received(anna.name);
    assert_eq!(anna.courier().person().unacknowledged(&ben.name), 0);
    // They continue to write.
    anna.write(ben.name, "good");
    anna.deliver();
    ben.fetch();
    assert_eq!(ben.received(anna.name), [&shown[..], &["good".to_owned()]].concat());
    ben.write(anna.name, "good");
    ben.deliver();
    anna.fetch();
    assert_eq!(anna.received(ben.name).len(), rounds + 2);
    (begun, shown)
}

#[test]
fn what_olm_has_forgotten_is_sealed_anew() {
    let all = |rounds| -> Vec<String> {
        let later = (0..rounds).map(|round| format!("round {round}"));
        ["hello", "lost"].map(str::to_owned).into_iter().chain(later).collect()
    };
    // Its key still exists after one round, but not after ten: Olm keeps the keys of five ratchet
    // steps.
    assert_eq!(lost_and_left_again(1), (0, all(1)));
    assert_eq!(lost_and_left_again(10), (1, all(10)));
}

#[test]
fn junk_in_anothers_name_changes_little() {
    let here = Box::new(ENDLESS);
    let (mut anna, mut ben) = pair(&here);
    let mut carl = Party::new(&[&here]);
    let mut card = |of: &Party| {
        let request = SignedRequest::Claim(*of.name.as_bytes());
        match carl.courier().wire().request(&here.place(), &request).unwrap() {
            MailboxReply::Claimed(card, _) => ContactCard::from_bytes(&card).unwrap(),
            answer => panic!("{answer:?}"),
        }
    };
    let (hers, his) = (card(&anna), card(&ben));
    let mut stranger = Account::new();
    stranger.generate_one_time_keys(1);
    let key = *stranger.one_time_keys().values().next().unwrap();
    let session = Account::new().create_outbound_session(
        SessionConfig::version_2(),
        stranger.curve25519_key(),
        key,
    );
    let message = session.unwrap().encrypt("junk").unwrap();
    let letter = Letter { card: hers, number: 7, message }.to_bytes();
    let junk = |ben: &mut Party| {
        let before = claims(&here);
        ben.read(&envelope::seal(&letter, &ben.name, &his.details().seal).unwrap());
        ben.deliver();
        claims(&here) - before
    };
    assert_eq!(junk(&mut ben), 1);
    assert_eq!(junk(&mut ben), 0, "once in a while");
    let write = |anna: &mut Party, ben: &mut Party, text: &str| {
        anna.fetch();
        anna.write(ben.name, text);
        anna.deliver();
        ben.fetch();
        ben.received(anna.name).pop().unwrap()
    };
    assert_eq!(write(&mut anna, &mut ben, "one"), "one");
    here.0.borrow_mut().now += REQUEST_INTERVAL;
    assert_eq!(junk(&mut ben), 1);
    assert_eq!(write(&mut anna, &mut ben, "two"), "two");
    assert_eq!(ben.received(anna.name), ["hello", "one", "two"]);

    // A person who does not know her sends no acknowledgement.
    let mut dora = Party::new(&[&here]);
    dora.deliver();
    anna.knows(&mut dora, "dora");
    anna.write(dora.name, "hello");
    anna.deliver();
    dora.fetch();
    let his = card(&dora);
    let before = here.0.borrow().heard.len();
    dora.read(&envelope::seal(&letter, &dora.name, &his.details().seal).unwrap());
    dora.deliver();
    assert_eq!(here.0.borrow().heard.len(), before);
}
