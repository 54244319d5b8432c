//! The decoders of untrusted bytes.

use std::sync::LazyLock;

use octet_messages::backup::{Backup, ContactBackup};
use octet_messages::card::{ContactCard, Details, UNIT};
use octet_messages::envelope::{Seal, is_size, seal};
use octet_messages::invite::Invite;
use octet_messages::letter::Letter;
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::prekey::{Bundle, Prekey, PrekeyUse};
use octet_messages::record::PersonRecord;
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use proptest::prelude::*;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, SessionConfig};

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed([number; 32]).unwrap()
}

fn place() -> MailboxAddress {
    let addresses = vec!["192.0.2.7:4434".parse().unwrap(), "[2001:db8::7]:4434".parse().unwrap()];
    MailboxAddress { mailbox: key(9).public(), addresses }
}

fn card() -> ContactCard {
    let statement = KeyStatement {
        node: key(1).public(),
        unit: UNIT.parse().unwrap(),
        key: key(2).public(),
        epoch: 1,
        issued: 7,
    };
    let certificate = Certificate::sign(statement, &key(1)).unwrap();
    let details = Details { identity: [3; 32], seal: [4; 32], serial: 5, places: vec![place()] };
    ContactCard::sign(details, certificate, &key(2)).unwrap()
}

fn bundle() -> Bundle {
    let prekey = |usage, number| Prekey::sign(usage, number, [3; 32], [6; 32], &key(2));
    Bundle {
        card: card(),
        prekeys: vec![prekey(PrekeyUse::OneTime, 1), prekey(PrekeyUse::Fallback, 2)],
    }
}

fn letter() -> Letter {
    let (anna, mut ben) = (Account::new(), Account::new());
    ben.generate_one_time_keys(1);
    let one_time: Vec<Curve25519PublicKey> = ben.one_time_keys().into_values().collect();
    let config = SessionConfig::version_2();
    let session = anna.create_outbound_session(config, ben.curve25519_key(), one_time[0]);
    Letter { card: card(), number: 1, message: session.unwrap().encrypt("hello").unwrap() }
}

fn record() -> PersonRecord {
    let (from, to) = (key(1).public(), key(8).public());
    let (epoch, number, first, of, received) = (4, 6, 5, 7, 2);
    let (again, written, text) = (false, 3, "hello".to_owned());
    PersonRecord { from, to, epoch, number, first, of, received, again, written, text }
}

fn backup() -> Backup {
    let contact = |name: u8, card| ContactBackup {
        name: key(name).public(),
        alias: "ben".to_owned(),
        is_known: true,
        places: vec![place()],
        card,
        epoch: 4,
        received: 6,
        before: (3, 5),
    };
    let mut contacts = vec![contact(1, Some(card())), contact(8, None)];
    contacts.sort_by_key(|contact| contact.name);
    Backup { name: [1; 32], seal: [2; 32], epoch: 3, places: vec![place()], contacts }
}

/// The name of an encoding, a valid example, and a function that decodes and encodes again.
type Reader = (&'static str, Vec<u8>, fn(&[u8]) -> Option<Vec<u8>>);

static READERS: LazyLock<Vec<Reader>> = LazyLock::new(|| {
    vec![
        ("card", card().to_bytes(), |bytes| Some(ContactCard::from_bytes(bytes).ok()?.to_bytes())),
        ("bundle", bundle().to_bytes(), |bytes| Some(Bundle::from_bytes(bytes).ok()?.to_bytes())),
        ("prekey", bundle().prekeys[0].to_bytes(), |bytes| {
            Some(Prekey::from_bytes(bytes)?.to_bytes())
        }),
        ("record", record().to_bytes(), |bytes| Some(PersonRecord::from_bytes(bytes)?.to_bytes())),
        ("backup", backup().to_bytes(), |bytes| Some(Backup::from_bytes(bytes)?.to_bytes())),
        ("letter", letter().to_bytes(), |bytes| Some(Letter::from_bytes(bytes)?.to_bytes())),
    ]
});

#[test]
fn what_was_written_is_read() {
    for (name, bytes, read) in READERS.iter() {
        assert_eq!(read(bytes).as_ref(), Some(bytes), "{name}");
        for length in 0..bytes.len() {
            // A record with a shorter text is valid, too, and Olm itself detects the end of a
            // message.
            let is_open = ["record", "letter"].contains(name);
            assert!(is_open || read(&bytes[..length]).is_none(), "{name}, {length} bytes");
        }
        assert_eq!(read(&[bytes, &[0][..]].concat()).is_some(), *name == "record", "{name}");
    }
}

/// The signature covers every byte.
#[test]
fn what_is_altered_is_refused() {
    for (name, bytes, read) in &READERS[..2] {
        // Each byte of a bundle costs three verifications.
        for at in (0..bytes.len()).step_by(3) {
            let mut altered = bytes.clone();
            altered[at] ^= 0x10;
            assert!(read(&altered).is_none(), "{name}, byte {at}");
        }
    }
    let (card, prekey) = (card(), bundle().prekeys.remove(0));
    assert!(prekey.is_signed_by(&card));
    for at in 0..prekey.to_bytes().len() {
        let mut altered = prekey.to_bytes();
        altered[at] ^= 1;
        let is_own =
            Prekey::from_bytes(&altered).is_some_and(|altered| altered.is_signed_by(&card));
        assert!(!is_own, "byte {at}");
    }
}

#[test]
fn a_key_for_something_else_signs_no_card() {
    let details = || card().details().clone();
    let certify = |unit: &str, signed: u8| {
        let (node, key) = (key(1).public(), key(signed).public());
        let unit = unit.parse().unwrap();
        Certificate::sign(KeyStatement { node, unit, key, epoch: 1, issued: 0 }, &self::key(1))
    };
    assert!(ContactCard::sign(details(), certify(UNIT, 2).unwrap(), &key(2)).is_ok());
    assert!(ContactCard::sign(details(), certify("gate", 2).unwrap(), &key(2)).is_err());
    assert!(ContactCard::sign(details(), certify(UNIT, 2).unwrap(), &key(3)).is_err());
}

#[test]
fn an_invite_is_one_line() {
    let invite = Invite { name: key(1).public(), places: vec![place()] };
    let line = invite.to_string();
    assert!(line.bytes().all(|byte| byte.is_ascii_uppercase()
        || byte.is_ascii_digit()
        || byte == b':'
        || byte == b'-'));
    assert_eq!(line.parse(), Ok(invite.clone()));
    assert_eq!(format!(" {}\n", line.to_lowercase()).parse(), Ok(invite.clone()));
    for at in 0..line.len() {
        let mut slip = line.clone().into_bytes();
        slip[at] = if slip[at] == b'A' { b'B' } else { b'A' };
        let slip = String::from_utf8(slip).unwrap();
        assert!(slip.parse::<Invite>().is_err(), "{slip}");
    }
    assert_eq!(place().to_string().parse(), Ok(place()));
    let nowhere = Invite { places: vec![], ..invite };
    assert!(nowhere.to_string().parse::<Invite>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: proptest::test_runner::RngSeed::Fixed(27),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (name, _, read) in READERS.iter() {
            // Every accepted input is the canonical encoding.
            prop_assert!(read(&bytes).is_none_or(|again| again == bytes), "{}", name);
        }
        let _ = (SignedRequest::from_bytes(&bytes), MailboxReply::from_bytes(&bytes));
        let _ = Seal::new([1; 32]).unwrap().open(&bytes, &PublicKey::new([0; 32]));
    }

    #[test]
    fn nothing_panics_near_the_truth(
        which in 0..6usize,
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (name, bytes, read) = &READERS[which];
        let mut altered = bytes[..=cut.index(bytes.len())].to_vec();
        let at = at.index(altered.len());
        altered[at] = byte;
        let again = read(&altered);
        // Olm accepts messages with unknown fields.
        prop_assert!(*name == "letter" || again.is_none_or(|again| again == altered), "{}", name);
    }

    #[test]
    fn an_invite_never_panics(line in "(OCTET-MSG:)?[A-Z2-7]{0,200}") {
        let _ = line.parse::<Invite>();
    }

    #[test]
    fn an_envelope_opens_for_one(
        letter in prop::collection::vec(any::<u8>(), 0..3000),
        at in any::<prop::sample::Index>(),
    ) {
        let (own, other) = (Seal::new([1; 32]).unwrap(), Seal::new([2; 32]).unwrap());
        let (name, else_) = (key(1).public(), key(2).public());
        let mut envelope = seal(&letter, &name, &own.public()).unwrap();
        prop_assert!(is_size(envelope.len()));
        prop_assert_eq!(own.open(&envelope, &name), Some(letter));
        prop_assert_eq!(own.open(&envelope, &else_), None);
        prop_assert_eq!(other.open(&envelope, &name), None);
        let at = at.index(envelope.len());
        envelope[at] ^= 1;
        prop_assert_eq!(own.open(&envelope, &name), None);
    }
}
