//! The courier: carries out a person's actions. It persists the result of each step before it
//! contacts mailboxes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use octet_node::control::PublicKey;

use crate::limits::{MAILBOX_TIMEOUT, MAX_ROUNDS};
use crate::mailbox_address::MailboxAddress;
use crate::person::{EventError, MailboxAction, Person, PersonEvent};
use crate::request::{
    Letters, MailboxRefusal, MailboxReply, MailboxRequest, Owned, SignedRequest, signed_bytes,
};
use crate::store::{PersonStore, PersonStoreError};

/// The transport to mailboxes.
pub trait Wire {
    /// Sends a request to the mailbox at `place`. A request after a nonce uses the same connection.
    ///
    /// # Errors
    /// The mailbox is unreachable, or does not answer.
    fn request(
        &mut self,
        place: &MailboxAddress,
        request: &SignedRequest,
    ) -> Result<MailboxReply, MailboxUnreachable>;

    /// Closes the connection to `place`: the next one uses a new identity and is unlinkable.
    fn disconnect(&mut self, place: &MailboxAddress);
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox {0} does not answer: see that it runs and is reached from here")]
pub struct MailboxUnreachable(pub String);

#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// The change was not stored. The person in memory must be dropped.
    #[error(transparent)]
    Store(#[from] PersonStoreError),
    /// The person's state refuses the event.
    #[error(transparent)]
    Refused(#[from] EventError),
    /// The mailbox refuses the request.
    #[error("the mailbox: {0}")]
    Mailbox(#[from] MailboxRefusal),
    /// The mailbox has more messages than expected.
    #[error("the mailbox has more messages than are fetched at once: fetch again")]
    More,
    /// The mailbox takes too long for all requests together.
    #[error("the mailbox is too slow for all that it is asked at once: it is asked again later")]
    Slow,
    /// The mailbox does not answer.
    #[error(transparent)]
    Unreached(#[from] MailboxUnreachable),
    /// The person has no mailbox.
    #[error(
        "you have no mailbox: name one with `octet-msg init --mailbox did:key:…@192.0.2.7:4434`"
    )]
    Homeless,
    #[error("cut at {0:?}")]
    Cut(CourierStage),
}

impl CourierError {
    /// Whether no further attempt makes sense.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Cut(_))
    }
}

/// The stages of a step, at each of which the process can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CourierStage {
    /// The changes are computed, but not stored.
    Stepped,
    /// The changes are stored, but nothing was sent.
    Stored,
    /// The mailbox has answered, but the answer is not processed.
    Answered,
}

impl CourierStage {
    pub const ALL: [Self; 3] = [Self::Stepped, Self::Stored, Self::Answered];
}

pub struct Courier<W> {
    person: Person,
    store: PersonStore,
    wire: W,
    should_continue: Box<dyn FnMut(CourierStage) -> bool>,
    clock: Box<dyn Fn() -> Instant>,
}

impl<W: Wire> Courier<W> {
    /// Loads the person in `store`.
    ///
    /// # Errors
    /// There is no person, or the data is damaged.
    pub fn new(store: PersonStore, wire: W) -> Result<Self, PersonStoreError> {
        let person = store.load()?;
        let (should_continue, clock) = (Box::new(|_| true), Box::new(Instant::now));
        Ok(Self { person, store, wire, should_continue, clock })
    }

    /// The same, as long as `should_continue` returns true at each stage.
    #[must_use]
    pub fn interruptible(
        mut self,
        should_continue: impl FnMut(CourierStage) -> bool + 'static,
    ) -> Self {
        self.should_continue = Box::new(should_continue);
        self
    }

    pub fn person(&self) -> &Person {
        &self.person
    }

    /// The person's store.
    pub fn store(&mut self) -> &mut PersonStore {
        &mut self.store
    }

    pub fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Closes the person's store, and keeps the transport.
    pub fn into_wire(self) -> W {
        self.wire
    }

    /// Applies `event`, and stores the changes.
    ///
    /// # Errors
    /// It is refused, or not stored; in the latter case this courier must be dropped.
    pub fn apply(&mut self, event: PersonEvent, now: u64) -> Result<(), CourierError> {
        let changes = self.person.step(event, now)?;
        self.checkpoint(CourierStage::Stepped)?;
        self.store.write(&changes)?;
        self.checkpoint(CourierStage::Stored)
    }

    fn checkpoint(&mut self, stage: CourierStage) -> Result<(), CourierError> {
        (self.should_continue)(stage).then_some(()).ok_or(CourierError::Cut(stage))
    }

    fn request(
        &mut self,
        place: &MailboxAddress,
        request: &SignedRequest,
    ) -> Result<MailboxReply, CourierError> {
        let answer = self.wire.request(place, request)?;
        self.checkpoint(CourierStage::Answered)?;
        match answer {
            MailboxReply::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Sends a request that requires the mailbox owner's signature.
    fn request_as_owner(
        &mut self,
        place: &MailboxAddress,
        asked: MailboxRequest,
    ) -> Result<MailboxReply, CourierError> {
        let request = self.sign_as_owner(place, asked)?;
        self.request(place, &request)
    }

    /// A request with the mailbox owner's signature, for the connection on which it was signed.
    pub fn sign_as_owner(
        &mut self,
        place: &MailboxAddress,
        asked: MailboxRequest,
    ) -> Result<SignedRequest, CourierError> {
        let MailboxReply::Nonce(nonce) = self.request(place, &SignedRequest::Nonce)? else {
            return Err(MailboxRefusal::Malformed.into());
        };
        let name = *self.person.name().as_bytes();
        let signed = signed_bytes(&place.mailbox, &nonce, &name, &asked);
        let signature = self.person.sign(&signed).to_vec();
        Ok(SignedRequest::Owner(Owned { name, asked, signature }))
    }

    /// Carries out all pending actions. Returns the errors of mailboxes; the actions are retried at
    /// the next call.
    pub fn deliver(&mut self, now: u64) -> Result<Vec<CourierError>, CourierError> {
        let mut left = vec![];
        // Contacts on hold at a mailbox in this turn, because later messages must not overtake a
        // failed one; and mailboxes that do not answer.
        let (mut held, mut silent) = (vec![], vec![]);
        let mut spent: BTreeMap<PublicKey, Duration> = BTreeMap::new();
        // A claimed key makes new messages, which must be deposited: there is no third round.
        for _ in 0..2 {
            let mut claimed = vec![];
            for action in self.person.pending_actions(now) {
                let (who, mailbox) = target(&action);
                let is_claim = matches!(action, MailboxAction::Claim { .. });
                let is_held = held.contains(&(who, mailbox)) || silent.contains(&mailbox);
                // Deposits differ from those before the key was available.
                if is_held || claimed.contains(&who) {
                    continue;
                }
                let began = (self.clock)();
                let done = self.perform(action, now);
                let spent = spent.entry(mailbox).or_default();
                *spent += (self.clock)().duration_since(began);
                if *spent >= MAILBOX_TIMEOUT {
                    silent.push(mailbox);
                    left.push(CourierError::Slow);
                }
                match done {
                    Ok(()) if is_claim => claimed.push(who),
                    Ok(()) => {}
                    Err(error) if error.is_final() => return Err(error),
                    Err(error) => {
                        if matches!(error, CourierError::Unreached(_)) {
                            silent.push(mailbox);
                        }
                        held.push((who, mailbox));
                        left.push(error);
                    }
                }
            }
            if claimed.is_empty() {
                break;
            }
        }
        Ok(left)
    }

    fn perform(&mut self, action: MailboxAction, now: u64) -> Result<(), CourierError> {
        match action {
            MailboxAction::Publish { place, bundle } => {
                // The depositor must be anonymous to the mailbox, before and after.
                self.wire.disconnect(&place);
                let published = self.request_as_owner(&place, MailboxRequest::Publish(bundle));
                self.wire.disconnect(&place);
                published?;
                self.apply(PersonEvent::Published(place.mailbox), now)
            }
            MailboxAction::Claim { place, peer } => {
                let answer = self.request(&place, &SignedRequest::Claim(*peer.as_bytes()))?;
                let MailboxReply::Claimed(card, prekey) = answer else {
                    return Err(MailboxRefusal::Malformed.into());
                };
                self.apply(PersonEvent::Claimed(peer, card, prekey), now)
            }
            MailboxAction::Deposit { place, peer, what, envelope } => {
                self.request(&place, &SignedRequest::Deposit(*peer.as_bytes(), envelope))?;
                self.apply(PersonEvent::Deposited(peer, place.mailbox, what), now)
            }
        }
    }

    /// Fetches the messages in the person's own mailboxes, and deletes them there once they are
    /// stored here. Returns the errors of single mailboxes, also if one has more messages or is
    /// slow.
    ///
    /// # Errors
    /// No mailbox answers, or storing fails.
    pub fn fetch(&mut self, now: u64) -> Result<Vec<CourierError>, CourierError> {
        let places: Vec<MailboxAddress> = self.person.mailboxes().cloned().collect();
        let (mut left, mut answer) = (vec![], false);
        for place in &places {
            // The owner is known to the mailbox; a depositor must not be, and uses another
            // connection.
            self.wire.disconnect(place);
            let fetched = self.fetch_all(place, now);
            self.wire.disconnect(place);
            match fetched {
                Ok(()) => answer = true,
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    answer |= matches!(error, CourierError::More | CourierError::Slow);
                    left.push(error);
                }
            }
        }
        if answer {
            return Ok(left);
        }
        Err(left.into_iter().next().unwrap_or(CourierError::Homeless))
    }

    /// Fetches until the mailbox is empty, or a limit of rounds or time is reached: a malicious
    /// mailbox never runs out of messages, and answers just in time.
    fn fetch_all(&mut self, place: &MailboxAddress, now: u64) -> Result<(), CourierError> {
        let began = (self.clock)();
        for _ in 0..MAX_ROUNDS {
            if (self.clock)().duration_since(began) >= MAILBOX_TIMEOUT {
                return Err(CourierError::Slow);
            }
            let MailboxReply::Letters(found) =
                self.request_as_owner(place, MailboxRequest::Fetch)?
            else {
                return Err(MailboxRefusal::Malformed.into());
            };
            let generation = found.generation;
            let Some(upto) = self.take(place, found, now)? else { return Ok(()) };
            self.acknowledge(place, generation, upto)?;
        }
        Err(CourierError::More)
    }

    /// Stores what `place` has sent. Returns the number of the last message, if there is one.
    pub(crate) fn take(
        &mut self,
        place: &MailboxAddress,
        found: Letters,
        now: u64,
    ) -> Result<Option<u64>, CourierError> {
        let upto = found.letters.last().map(|(number, _)| *number);
        let envelopes = found.letters.into_iter().map(|(_, envelope)| envelope).collect();
        self.apply(PersonEvent::Fetched(place.mailbox, envelopes, found.left), now)?;
        Ok(upto)
    }

    /// Has the messages up to the number `upto` deleted at `place`.
    pub(crate) fn acknowledge(
        &mut self,
        place: &MailboxAddress,
        generation: [u8; 16],
        upto: u64,
    ) -> Result<(), CourierError> {
        match self.request_as_owner(place, MailboxRequest::Acknowledge(generation, upto)) {
            Ok(_) | Err(CourierError::Mailbox(MailboxRefusal::OtherGeneration)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The contact that an action concerns (`None` for the person itself), and the mailbox.
fn target(action: &MailboxAction) -> (Option<PublicKey>, PublicKey) {
    match action {
        MailboxAction::Publish { place, .. } => (None, place.mailbox),
        MailboxAction::Claim { place, peer } | MailboxAction::Deposit { place, peer, .. } => {
            (Some(*peer), place.mailbox)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invite::Invite;
    use crate::person::NewIdentity;
    use octet_node::key::{PrivateKey, random};
    use std::cell::Cell;
    use std::rc::Rc;
    use tempfile::TempDir;

    /// A mailbox with this number of messages, one per answer, each of which takes this long.
    struct Mailbox {
        letters: usize,
        fetched: usize,
        pause: Duration,
        now: Rc<Cell<Instant>>,
    }

    impl Wire for Mailbox {
        fn request(
            &mut self,
            _: &MailboxAddress,
            request: &SignedRequest,
        ) -> Result<MailboxReply, MailboxUnreachable> {
            self.now.set(self.now.get() + self.pause);
            let SignedRequest::Owner(Owned { asked: MailboxRequest::Fetch, .. }) = request else {
                return Ok(match request {
                    SignedRequest::Nonce => MailboxReply::Nonce([7; 32]),
                    _ => MailboxReply::Done,
                });
            };
            assert!(self.fetched < 3 * MAX_ROUNDS, "it does not end");
            let letters = match self.fetched < self.letters {
                true => vec![(self.fetched as u64, vec![0; 1024])],
                false => vec![],
            };
            self.fetched += 1;
            Ok(MailboxReply::Letters(Letters { generation: [0; 16], letters, left: 50 }))
        }

        fn disconnect(&mut self, _: &MailboxAddress) {}
    }

    /// The result of a fetch, with the number of rounds and the time.
    fn fetch(
        letters: usize,
        pause: Duration,
    ) -> (Result<Vec<CourierError>, CourierError>, usize, Duration) {
        let (mut courier, now, _folder) = courier(letters, pause);
        let began = now.get();
        let fetched = courier.fetch(2);
        (fetched, courier.wire().fetched, now.get() - began)
    }

    /// A person with such a mailbox, and the courier's clock.
    fn courier(letters: usize, pause: Duration) -> (Courier<Mailbox>, Rc<Cell<Instant>>, TempDir) {
        let (folder, key) = (TempDir::new().unwrap(), random().unwrap());
        let fresh = NewIdentity {
            name: random().unwrap(),
            key: random().unwrap(),
            seal: random().unwrap(),
        };
        let place = MailboxAddress { mailbox: PublicKey::new([8; 32]), addresses: vec![] };
        let (_, rows) = Person::new(fresh, vec![place], 1).unwrap();
        PersonStore::create(folder.path(), key).unwrap().write(&rows).unwrap();
        let store = PersonStore::open(folder.path(), key).unwrap();
        let now = Rc::new(Cell::new(Instant::now()));
        let mailbox = Mailbox { letters, fetched: 0, pause, now: Rc::clone(&now) };
        let mut courier = Courier::new(store, mailbox).unwrap();
        let clock = Rc::clone(&now);
        courier.clock = Box::new(move || clock.get());
        (courier, now, folder)
    }

    #[test]
    fn a_mailbox_that_always_has_more_is_left() {
        let (fetched, rounds, _) = fetch(3, Duration::ZERO);
        assert!(fetched.unwrap().is_empty());
        assert_eq!(rounds, 4);
        let (fetched, rounds, _) = fetch(usize::MAX, Duration::ZERO);
        // The mailbox has answered, and the messages are stored.
        assert!(matches!(fetched.unwrap()[..], [CourierError::More]));
        assert_eq!(rounds, MAX_ROUNDS);
    }

    #[test]
    fn a_mailbox_that_answers_just_in_time_is_left() {
        // `quic` waits at most 15 s to connect and for the answer.
        let pause = Duration::from_secs(14);
        let (fetched, rounds, took) = fetch(usize::MAX, pause);
        // The mailbox has answered, and the messages are stored.
        assert!(matches!(fetched.unwrap()[..], [CourierError::Slow]));
        assert!(rounds > 1 && took <= Duration::from_secs(5 * 60), "{rounds}: {took:?}");
        // The same holds for deposits: keys of a hundred contacts are requested, and none is
        // returned.
        let (mut courier, now, _folder) = courier(0, pause);
        let place = MailboxAddress { mailbox: PublicKey::new([9; 32]), addresses: vec![] };
        for _ in 0..100 {
            let name = PrivateKey::generate().unwrap().public();
            let invite = Invite { name, places: vec![place.clone()] };
            courier.apply(PersonEvent::Add(invite, "ben".to_owned()), 2).unwrap();
            courier.apply(PersonEvent::Write(name, "octet".to_owned()), 2).unwrap();
        }
        let began = now.get();
        let left = courier.deliver(2).unwrap();
        assert!(left.iter().any(|error| matches!(error, CourierError::Slow)), "{left:?}");
        // The person's own mailbox is contacted, too.
        let took = now.get() - began;
        assert!(took <= Duration::from_secs(2 * 5 * 60), "{took:?}");
        // A slow mailbox with few messages returns all of them.
        let (fetched, rounds, _) = fetch(3, pause);
        assert!(fetched.unwrap().is_empty());
        assert_eq!(rounds, 4);
    }
}
