//! Messages between two people, each with a mailbox of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use data_encoding::BASE64_NOPAD;
use octet_messages::courier::{Courier, MailboxUnreachable, Wire};
use octet_messages::follow;
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::person::{NewIdentity, Person, PersonEvent};
use octet_messages::quic::{MailboxClient, now};
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_messages::store::PersonStore;
use octet_node::key::random;
use serde_json::{Value, json};
use vodozemac::olm::{Account, OlmMessage, SessionConfig};

use super::mailbox::Mailbox;
use super::{Failed, TIMEOUT};

/// The length of a text, in bytes.
const TEXT: usize = 100;

/// The messages that are fetched one by one, to count the bytes of that.
const COUNTED: usize = 20;

/// The key of a person's store.
const KEY: [u8; 32] = [1; 32];

pub struct Letters {
    /// The time from writing until the receiver, who follows, has it on disk and shows it.
    pub shown: Vec<Duration>,
    /// The time from writing until the message is in the receiver's mailbox.
    pub left: Vec<Duration>,
    /// The bytes of requests and answers per message at the sender.
    pub sent: usize,
    /// The same at the receiver, which fetches each message on its own.
    pub fetched: usize,
    /// The size of the same text as an Olm message in JSON, in bytes.
    pub olm_in_json: usize,
}

/// The transport of the release, with a count of the bytes in requests and answers.
struct Counted {
    wire: MailboxClient,
    bytes: usize,
}

impl Wire for Counted {
    fn request(
        &mut self,
        place: &MailboxAddress,
        request: &SignedRequest,
    ) -> Result<MailboxReply, MailboxUnreachable> {
        let answer = self.wire.request(place, request)?;
        self.bytes += request.to_bytes().len() + answer.to_bytes().len();
        Ok(answer)
    }

    fn disconnect(&mut self, place: &MailboxAddress) {
        self.wire.disconnect(place);
    }
}

/// A person with a mailbox at `mailbox`, who has published keys.
fn person(folder: &Path, mailbox: &Mailbox) -> Result<Courier<Counted>, Failed> {
    fs::create_dir(folder)?;
    let fresh = NewIdentity { name: random()?, key: random()?, seal: random()? };
    let made = Person::new(fresh, vec![mailbox.place.clone()], now());
    let (_, rows) = made.ok_or("nobody is made of random bytes")?;
    let store = PersonStore::create(folder, KEY)?;
    store.write(&rows)?;
    let mut person = Courier::new(store, Counted { wire: MailboxClient::new()?, bytes: 0 })?;
    mailbox.admit(person.person().name())?;
    deliver(&mut person)?;
    Ok(person)
}

fn deliver(person: &mut Courier<Counted>) -> Result<(), Failed> {
    let left = person.deliver(now())?;
    left.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
}

/// Follows as `octet-msg receive --follow` does, in a thread that ends with the process. Returns when
/// each message was shown.
fn follow(folder: PathBuf) -> Result<Receiver<Instant>, Failed> {
    let (sender, shown) = channel();
    let client = MailboxClient::new()?;
    let open = move |client| Ok(Courier::new(PersonStore::open(&folder, KEY)?, client)?);
    let show = move |courier: &mut Courier<MailboxClient>| {
        let (end, shown) = courier.person().history();
        for _ in courier.store().history(shown, end)? {
            sender.send(Instant::now())?;
        }
        Ok(courier.apply(PersonEvent::Shown(end), now())?)
    };
    std::thread::spawn(move || {
        let Err(error) = follow::follow::<Failed>(client, open, show, |it| eprintln!("{it}"));
        eprintln!("the receiver follows no more: {error}");
    });
    Ok(shown)
}

/// Sends `count` messages from one to the other, who follows; each is written when the one before
/// is shown.
pub fn letters(folder: &Path, boxes: &[Mailbox; 2], count: usize) -> Result<Letters, Failed> {
    let mut anna = person(&folder.join("anna"), &boxes[0])?;
    let mut ben = person(&folder.join("ben"), &boxes[1])?;
    let names = [anna.person().name(), ben.person().name()];
    anna.apply(PersonEvent::Add(ben.person().invite(), "ben".to_owned()), now())?;
    ben.apply(PersonEvent::Add(anna.person().invite(), "anna".to_owned()), now())?;
    // After that there is a session that both sides know.
    for (writer, reader, to) in [(0, 1, names[1]), (1, 0, names[0])] {
        let people = [&mut anna, &mut ben];
        let [writer, reader] = if writer < reader {
            people
        } else {
            let [a, b] = people;
            [b, a]
        };
        writer.apply(PersonEvent::Write(to, "hello".to_owned()), now())?;
        deliver(writer)?;
        reader.fetch(now())?;
        deliver(reader)?;
    }
    let before = [anna.wire().bytes, ben.wire().bytes];
    let write = |anna: &mut Courier<Counted>, number: usize| {
        anna.apply(PersonEvent::Write(names[1], format!("{number:0TEXT$}")), now())?;
        deliver(anna)
    };
    for number in 0..COUNTED {
        let lines = ben.person().history().0;
        write(&mut anna, number)?;
        ben.fetch(now())?;
        if ben.person().history().0 == lines {
            return Err(format!("letter {number} was not there").into());
        }
    }
    let bytes = [anna.wire().bytes - before[0], ben.wire().bytes - before[1]];
    let [sent, fetched] = bytes.map(|bytes| bytes / COUNTED);
    let end = ben.person().history().0;
    ben.apply(PersonEvent::Shown(end), now())?;
    drop(ben);
    let follower = follow(folder.join("ben"))?;
    let (mut shown, mut left) = (vec![], vec![]);
    for number in 0..count {
        let began = Instant::now();
        write(&mut anna, number)?;
        left.push(began.elapsed());
        shown.push(follower.recv_timeout(TIMEOUT)?.duration_since(began));
    }
    Ok(Letters { shown, left, sent, fetched, olm_in_json: olm_in_json()? })
}

/// The size of a text in the encoding of other systems: the second message of an Olm session, in
/// base64, within JSON that has both keys and, in an inner JSON object, the kind of message.
fn olm_in_json() -> Result<usize, Failed> {
    let (anna, mut ben) = (Account::new(), Account::new());
    ben.generate_one_time_keys(1);
    let key = *ben.one_time_keys().values().next().ok_or("no one-time key")?;
    let config = SessionConfig::version_2();
    let mut sender = anna.create_outbound_session(config, ben.curve25519_key(), key)?;
    let OlmMessage::PreKey(first) = sender.encrypt("hello")? else {
        return Err("the first message begins no session".into());
    };
    let made = ben.create_inbound_session(config, anna.curve25519_key(), &first)?;
    let mut receiver = made.session;
    sender.decrypt(&receiver.encrypt("hello")?)?;
    let within = json!({
        "content": { "body": "x".repeat(TEXT), "msgtype": "m.text" },
        "keys": { "ed25519": BASE64_NOPAD.encode(anna.ed25519_key().as_bytes()) },
        "recipient": "@ben:example.org",
        "recipient_keys": { "ed25519": BASE64_NOPAD.encode(ben.ed25519_key().as_bytes()) },
        "sender": "@anna:example.org",
        "type": "m.room.message",
    });
    let (kind, message) = sender.encrypt(within.to_string())?.to_parts();
    let to = BASE64_NOPAD.encode(ben.curve25519_key().as_bytes());
    let message: Value = json!({ to: { "body": BASE64_NOPAD.encode(&message), "type": kind } });
    let whole = json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "ciphertext": message,
        "sender_key": BASE64_NOPAD.encode(anna.curve25519_key().as_bytes()),
    });
    Ok(whole.to_string().len())
}
