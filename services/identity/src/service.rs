//! What identity can be asked.

use std::time::{SystemTime, UNIX_EPOCH};

use octet_node::certificate::Certificate;
use octet_node::control::{
    ArgKind, Arguments, Capability, DESCRIBE, Failure, FailureCode, PublicKey, ReplyBody, UnitName,
    Verb,
};
use octet_node::say;
use octet_node::serve::{Answers, Service, Ticket};
use octet_node::sub_key::{CERTIFICATES, CERTIFY};
use serde_json::{Value, json};

use crate::book::{Entry, Why};
use crate::store::{Store, StoreError};

/// How many requests of one service may wait to hear that its key no longer counts.
const MOST_WAITING: usize = 16;

/// How many may wait to hear of other certificates.
const MOST_FOLLOWING: usize = 8;

/// How many of them may be of one user, so that operators keep no service out.
const MOST_FOLLOWING_OF_ONE: usize = 4;

/// identity, as its socket shows it.
pub struct Identity {
    store: Result<Store, StoreError>,
    /// Tells the unit that a user runs.
    unit_of: fn(u32) -> Option<UnitName>,
    /// Those who have a certificate, and are to hear when it no longer holds.
    waiting: Vec<Waiting>,
    /// Those who have all certificates, and are to hear when there are others; with what they were told.
    /// With their users.
    following: Vec<(u32, Ticket)>,
    told: Vec<Certificate>,
}

struct Waiting {
    ticket: Ticket,
    unit: UnitName,
    key: PublicKey,
}

impl Identity {
    /// Without a store that is whole, it still answers, and says what is wrong: nobody could look
    /// at it otherwise.
    pub fn new(store: Result<Store, StoreError>, unit_of: fn(u32) -> Option<UnitName>) -> Self {
        Self { store, unit_of, waiting: vec![], following: vec![], told: vec![] }
    }

    fn certify(
        &mut self,
        uid: u32,
        ticket: Ticket,
        args: &Arguments,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        // PID 1 asks for operators, who have no key here.
        let unit = (self.unit_of)(uid).ok_or_else(|| {
            let message = format!("user {uid} is no service, so it has no key to certify");
            Failure::new(FailureCode::Denied, message, "a service asks this for itself")
        })?;
        let key = args.text("key").unwrap_or_default().parse::<PublicKey>().map_err(|error| {
            Failure::new(FailureCode::BadArgument, error.to_string(), "give the public key")
        })?;
        if self.waiting.iter().filter(|waiting| waiting.unit == unit).count() >= MOST_WAITING {
            let message = format!("{MOST_WAITING} requests of `{unit}` wait already");
            return Err(Failure::new(FailureCode::Busy, message, "keep one, and end the others"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let store = self.store.as_mut().map_err(|error| unusable(error))?;
        let Some(certificate) = store.certify(&unit, key, now).map_err(|error| failed(&error))?
        else {
            answers.put(ticket, renew());
            return Ok(());
        };
        answers.put(ticket, ReplyBody::Item(json!(certificate)));
        self.waiting.push(Waiting { ticket, unit: unit.clone(), key });
        // A new key takes the place of an old one, whose holder is to hear that.
        self.tell(&unit, Some(key), answers);
        Ok(())
    }

    /// Tells those who hold a key of `unit` that no longer counts; only `counts` does.
    fn tell(&mut self, unit: &UnitName, counts: Option<PublicKey>, answers: &mut Answers) {
        self.waiting.retain(|waiting| {
            let gone = waiting.unit == *unit && Some(waiting.key) != counts;
            if gone {
                answers.put(waiting.ticket, renew());
            }
            !gone
        });
    }

    fn certificates(
        &mut self,
        uid: u32,
        ticket: Ticket,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let own = self.following.iter().filter(|(user, _)| *user == uid).count();
        if self.following.len() >= MOST_FOLLOWING || own >= MOST_FOLLOWING_OF_ONE {
            let message = "too many requests for all certificates wait already";
            return Err(Failure::new(FailureCode::Busy, message, "keep one, and end the others"));
        }
        let store = self.store.as_ref().map_err(unusable)?;
        self.told = store.certificates().map_err(|error| failed(&error))?;
        answers.put(ticket, ReplyBody::Item(json!(self.told)));
        self.following.push((uid, ticket));
        Ok(())
    }

    /// Tells those who follow all certificates, if there are others now.
    fn tell_all(&mut self, answers: &mut Answers) {
        if self.following.is_empty() {
            return;
        }
        let Some(Ok(now)) = self.store.as_ref().ok().map(Store::certificates) else { return };
        if now != self.told {
            for (_, ticket) in &self.following {
                answers.put(*ticket, ReplyBody::Item(json!(now)));
            }
            self.told = now;
        }
    }

    fn end(&mut self, args: &Arguments, why: Why, answers: &mut Answers) -> Result<Value, Failure> {
        let store = self.store.as_mut().map_err(|error| unusable(error))?;
        let name = args.text("unit").unwrap_or_default();
        let known = store.book().units().map(|(unit, _)| unit).find(|unit| unit.as_str() == name);
        let Some(unit) = known.cloned() else {
            let known: Vec<&str> = store.book().units().map(|(unit, _)| unit.as_str()).collect();
            let help = format!("those that have one: {}", known.join(", "));
            let message = format!("no unit `{name}` has had a key");
            return Err(Failure::new(FailureCode::NotFound, message, help));
        };
        store.end(&unit, why).map_err(|error| failed(&error))?;
        self.tell(&unit, None, answers);
        Ok(Value::Null)
    }

    fn reset(&self, args: &Arguments) -> Result<Value, Failure> {
        let store = self.store.as_ref().map_err(unusable)?;
        let (meant, node) = (args.text("node").unwrap_or_default(), store.node());
        if meant != node.to_string() {
            let message = format!("this box is {node}, and not {meant}");
            let help = "name the box that is to forget everything, as `identity show` does";
            return Err(Failure::new(FailureCode::BadArgument, message, help));
        }
        if !store.is_kept() {
            let help = "`octetctl reboot` has the box forget all that it knows";
            return Err(Failure::new(FailureCode::Failed, "nothing is kept on a disk", help));
        }
        store.reset(|_| Ok(())).map_err(|error| failed(&error))?;
        say!("everything is erased at the next start");
        Ok(json!({ "reset": AT_NEXT_START }))
    }

    fn show(&self) -> Value {
        let store = match &self.store {
            Ok(store) => store,
            Err(error) => return json!({ "trouble": error.to_string(), "help": HELP }),
        };
        let keys = store.book().units().map(|(unit, entry)| shown(unit, entry));
        let gone = store.book().units().flat_map(|(unit, entry)| {
            let row =
                move |key: &PublicKey, why: &str| json!({"unit": unit, "key": key, "was": why});
            let revoked = entry.revoked.iter().map(move |key| row(key, "revoked"));
            revoked.chain(entry.replaced.iter().map(move |key| row(key, "replaced")))
        });
        let kept =
            if store.is_kept() { "on the data partition" } else { "in memory, until it is off" };
        json!({
            "node": store.node(),
            "kept": kept,
            "reset": store.is_to_be_reset().then_some(AT_NEXT_START),
            "certified": keys.collect::<Vec<_>>(),
            "gone": gone.collect::<Vec<_>>(),
        })
    }
}

const HELP: &str = "the box is no longer the one that its owner knows: put its data back, or write the image onto \
     its disk anew";

/// When a reset is done.
const AT_NEXT_START: &str = "at the next start: `octetctl reboot`";

fn shown(unit: &UnitName, entry: &Entry) -> Value {
    let key = entry.key.map(|current| current.key);
    json!({ "unit": unit, "key": key, "epoch": entry.epoch, "issued": entry.key.map(|key| key.issued) })
}

fn renew() -> ReplyBody {
    ReplyBody::End(json!({ "renew": true }))
}

fn unusable(error: &StoreError) -> Failure {
    Failure::new(FailureCode::Failed, error.to_string(), HELP)
}

fn failed(error: &StoreError) -> Failure {
    let help = match error {
        StoreError::Full(_) => {
            "an owner's `revoke` may have room still; a box that is reset has new keys, and so have its services"
        }
        _ => "`octetctl boot` tells how the data partition is",
    };
    Failure::new(FailureCode::Failed, error.to_string(), help)
}

impl Service for Identity {
    fn verbs(&self) -> Vec<Verb> {
        use Capability::{Operate, Own, Read};

        vec![
            Verb::new(DESCRIBE, Read, "Lists these verbs"),
            Verb::new(
                "show",
                Read,
                "Shows the node's name (a did:key), and the keys of its services",
            ),
            Verb::new(CERTIFY, Own, "For services: certifies the caller's own key").required(
                "key",
                ArgKind::Text,
                "The public key (a did:key)",
            ),
            Verb::new(
                CERTIFICATES,
                Read,
                "Lists what the node says about the keys of its services; again at every change",
            ),
            Verb::new(
                "rotate",
                Operate,
                "Has a service make a new key; the old one counts no more",
            )
            .required("unit", ArgKind::Text, "The service"),
            Verb::new("revoke", Own, "The same for a service whose keys may be in others' hands")
                .required("unit", ArgKind::Text, "The service"),
            Verb::new(
                "reset",
                Own,
                "Has the next start erase all data and keys; the box is another one then",
            )
            .required(
                "node",
                ArgKind::Text,
                "This box's name, so that it is no other (a did:key)",
            ),
        ]
    }

    fn ask(
        &mut self,
        uid: u32,
        ticket: Ticket,
        verb: &str,
        args: &Arguments,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let answer = match verb {
            CERTIFY => {
                self.certify(uid, ticket, args, answers)?;
                self.tell_all(answers);
                return Ok(());
            }
            CERTIFICATES => return self.certificates(uid, ticket, answers),
            "rotate" => self.end(args, Why::Replaced, answers)?,
            "revoke" => self.end(args, Why::Revoked, answers)?,
            "reset" => self.reset(args)?,
            _ => self.show(), // the list above has no other
        };
        self.tell_all(answers);
        answers.put(ticket, ReplyBody::End(answer));
        Ok(())
    }

    fn forget(&mut self, gone: &dyn Fn(Ticket) -> bool) {
        self.waiting.retain(|waiting| !gone(waiting.ticket));
        self.following.retain(|(_, ticket)| !gone(*ticket));
    }
}
