//! Commands in messages, from the operator to the gate, and the answers.

use std::time::Duration;

use octet_messages::courier::Courier;
use octet_messages::invite::Invite;
use octet_messages::limits::MAX_TEXT;
use octet_messages::person::PersonEvent;
use octet_messages::quic::{MailboxClient, now};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::words::Words;
use serde_json::json;

use crate::gate::Gate;
use crate::{Host, TIMEOUT, go_on, person};

/// An operator who has the box as a contact.
pub struct Operator {
    key: PrivateKey,
    courier: Courier<MailboxClient>,
    node: PublicKey,
}

impl Operator {
    /// Makes a mailbox for an operator at `host`, and adds the box by its invite.
    pub fn new(
        host: &Host,
        place: &octet_messages::mailbox_address::MailboxAddress,
        name: &str,
    ) -> Self {
        let mut courier = person(&host.folder.path().join(name), place);
        host.ask("admit", json!({"name": courier.person().name()}));
        let at = place.addresses[0].to_string();
        let shown = host.ask("invite", json!({ "at": at }));
        let invite: Invite = shown["invite"].as_str().unwrap().parse().unwrap();
        assert_eq!(host.ask("invite", json!({ "at": at })), shown, "it is the same again");
        let node = invite.name;
        courier.apply(PersonEvent::Add(invite, "box".to_owned()), now()).unwrap();
        Self { key: PrivateKey::generate().unwrap(), courier, node }
    }

    /// The name key as text.
    pub fn name(&self) -> String {
        self.courier.person().name().to_string()
    }

    /// The key that signs the commands.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// A command for the box.
    pub fn sign(&self, verb: &str) -> String {
        self.sign_for(self.node, verb)
    }

    /// A command for the node `target`.
    pub fn sign_for(&self, target: PublicKey, verb: &str) -> String {
        let (unit, args) = ("cache".parse().unwrap(), ["n=1".to_owned()]);
        let good_for = Duration::from_secs(600);
        let words = Words { target, unit: &unit, verb, args: &args, good_for };
        words.sign(&self.key).unwrap()
    }

    pub fn write(&mut self, text: &str) {
        self.courier.apply(PersonEvent::Write(self.node, text.to_owned()), now()).unwrap();
        go_on(&mut self.courier, |it| it.deliver(now()).unwrap().is_empty());
    }

    /// The number of unacknowledged messages to the box.
    pub fn unacknowledged(&self) -> usize {
        self.courier.person().unacknowledged(&self.node)
    }

    /// All answers, once there are `count`.
    pub fn answers(&mut self, count: usize) -> Vec<String> {
        let mut texts = vec![];
        go_on(&mut self.courier, |it| {
            // Fetching fails while the service is down.
            let _ = it.fetch(now());
            let (end, _) = it.person().history();
            let lines = it.store().history(0, end).unwrap().into_iter();
            texts = lines.filter(|line| line.received).map(|line| line.text).collect();
            texts.len() >= count
        });
        assert_eq!(texts.len(), count, "{texts:?}");
        texts
    }
}

#[test]
fn what_is_signed_is_carried_and_answered() {
    let mut host = Host::new();
    let gate = Gate::start(&host.folder.path().join("gate.sock"));
    let place = host.start("127.0.0.1:0");
    let mut anna = Operator::new(&host, &place, "anna");
    let command = anna.sign("stats");
    anna.write(&command);
    let said = anna.answers(1).pop().unwrap();
    for part in ["stats", "cache", "\"n\": 1"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(gate.begun.recv_timeout(TIMEOUT).unwrap(), "stats");

    // The same command again: the gate refuses it, and the refusal is sent.
    anna.write(&command);
    let said = anna.answers(2).pop().unwrap();
    assert!(said.contains("not done: this command was run before: sign a new one"), "{said}");

    // Messages without a valid signature are neither passed to the gate nor answered: the next
    // answer belongs to the next command.
    let altered = format!("{}x", anna.sign("purge"));
    for text in ["help", "cache purge", &altered] {
        anna.write(text);
    }
    anna.write(&anna.sign("show"));
    assert!(anna.answers(3).pop().unwrap().contains("show"));
    assert_eq!(gate.begun.recv_timeout(TIMEOUT).unwrap(), "show");

    // A longer answer is cut between two characters, and says so.
    anna.write(&anna.sign("long"));
    let said = anna.answers(4).pop().unwrap();
    assert!(said.len() <= MAX_TEXT && said.len() > MAX_TEXT - 4, "{}", said.len());
    assert!(said.starts_with("ää") && said.ends_with("longer than a message)"));
}

/// A signature proves a key, but not that it is an operator's. Unknown people use up nothing that
/// operators need: neither the gate's time nor a place among the node's contacts.
#[test]
fn a_stranger_who_signs_is_neither_carried_nor_answered_nor_known() {
    let mut host = Host::new();
    let gate = Gate::start(&host.folder.path().join("gate.sock"));
    let place = host.start("127.0.0.1:0");
    let mut anna = Operator::new(&host, &place, "anna");
    let mut eve = Operator::new(&host, &place, "eve");
    gate.strangers.lock().unwrap().push(eve.key.public());
    eve.write(&eve.sign("purge"));
    anna.write(&anna.sign("stats"));
    assert!(anna.answers(1).pop().unwrap().contains("stats"));
    assert_eq!(gate.begun.recv_timeout(TIMEOUT).unwrap(), "stats", "hers came first");
    eve.answers(0);
    // Only contacts get an acknowledgement.
    assert_eq!([&anna, &eve].map(Operator::unacknowledged), [0, 1]);

    // The same key, once it is an operator's.
    gate.strangers.lock().unwrap().clear();
    eve.write(&eve.sign("show"));
    assert!(eve.answers(1).pop().unwrap().contains("show"));
    assert_eq!(gate.begun.recv_timeout(TIMEOUT).unwrap(), "show");
    assert_eq!(eve.unacknowledged(), 0);

    // A forgotten contact gets no alerts, until it writes again.
    host.ask("subscribe", json!({ "name": eve.name() }));
    host.ask("forget", json!({ "name": eve.name() }));
    assert_eq!(host.ask("alerts", json!({}))["told"], json!([]));
    assert!(host.try_ask("forget", json!({ "name": eve.name() })).is_err());
}

/// The service is killed after the gate has started a command, and before the answer.
#[test]
fn killed_before_the_answer() {
    let mut host = Host::new();
    let gate = Gate::start(&host.folder.path().join("gate.sock"));
    let place = host.start("127.0.0.1:0");
    let at = place.addresses[0].to_string();
    let mut anna = Operator::new(&host, &place, "anna");
    anna.write(&anna.sign("hang"));
    assert_eq!(gate.begun.recv_timeout(TIMEOUT).unwrap(), "hang");
    host.kill();
    assert_eq!(host.start(&at), place);
    let said = anna.answers(1).pop().unwrap();
    assert!(said.contains("run before"), "{said}");

    // The service is killed after all answers: none is repeated.
    host.kill();
    assert_eq!(host.start(&at), place);
    anna.write(&anna.sign("stats"));
    assert!(anna.answers(2).pop().unwrap().contains("stats"));
    assert_eq!(gate.begun.recv_timeout(TIMEOUT).unwrap(), "stats");
    assert!(gate.begun.try_recv().is_err(), "each has begun once");
}
