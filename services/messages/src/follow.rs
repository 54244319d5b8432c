//! Shows messages as they arrive: waits at each of the person's mailboxes, which answers when there
//! is one (a long poll, RFC 6202).
//!
//! While it waits the person's store is closed, so that another process can send.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::{Duration, Instant};

use octet_node::control::PublicKey;
use octet_node::limits::{Rate, RateLimiter};

use crate::courier::{Courier, CourierError, Wire};
use crate::limits::{MAX_MAILBOXES, MAX_WAIT};
use crate::mailbox_address::MailboxAddress;
use crate::quic::{EndedWait, MailboxClient, RETRY_DELAY, now};
use crate::request::{MailboxRefusal, MailboxReply, MailboxRequest};
use crate::store::PersonStoreError;

/// How often one mailbox may answer: a malicious one always has an answer. One that is asked less
/// often has more messages in each answer.
const ANSWER_RATE: Rate = Rate { burst: 256, interval: Duration::from_millis(250) };

/// Waits for messages until an error ends it. `open` opens the person's store, which another
/// process may have open at that moment. `show` is called whenever messages have been stored, and
/// once at the beginning. `warn` is called for errors of mailboxes, which are asked again: for each
/// once, until all mailboxes have answered.
///
/// # Errors
/// `open` or `show` fails, or storing.
pub fn follow<E: From<CourierError> + From<PersonStoreError>>(
    mut client: MailboxClient,
    mut open: impl FnMut(MailboxClient) -> Result<Courier<MailboxClient>, E>,
    mut show: impl FnMut(&mut Courier<MailboxClient>) -> Result<(), E>,
    mut warn: impl FnMut(&str),
) -> Result<Infallible, E> {
    let mut follower = Follower::new();
    let (mut waited, mut warned) = (None, BTreeSet::new());
    loop {
        let mut courier = open(client)?;
        let limit = loop {
            let mut left = vec![];
            let stored = follower.end(&mut courier, waited, &mut left)?;
            // The first time there may be messages that were stored and not shown.
            if stored.is_some() || follower.is_new {
                show(&mut courier)?;
                follower.is_new = false;
            }
            follower.go_on(&mut courier, stored, &mut left)?;
            let limit = follower.limit(&courier);
            if left.is_empty() && limit >= MAX_WAIT {
                warned.clear();
            }
            for warning in left.iter().map(ToString::to_string) {
                if warned.insert(warning.clone()) {
                    warn(&warning);
                }
            }
            // What has arrived meanwhile needs no other opening.
            waited = courier.wire().next_wait(Duration::ZERO);
            if waited.is_none() {
                break limit;
            }
        };
        courier.store().rotate()?;
        client = courier.into_wire();
        client.disconnect_later();
        waited = client.next_wait(limit);
    }
}

/// Messages that a mailbox has sent: its address, the generation of their numbers, and the number
/// of the last one.
type Stored = (MailboxAddress, [u8; 16], Option<u64>);

struct Follower {
    began: Instant,
    is_new: bool,
    answers: RateLimiter<PublicKey>,
    /// The mailboxes at which it waits.
    waiting: BTreeSet<PublicKey>,
    /// When others are asked again.
    retry_at: BTreeMap<PublicKey, Instant>,
}

impl Follower {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            is_new: true,
            answers: RateLimiter::new(ANSWER_RATE, MAX_MAILBOXES),
            waiting: BTreeSet::new(),
            retry_at: BTreeMap::new(),
        }
    }

    /// Stores what a mailbox has answered, if one has.
    fn end(
        &mut self,
        courier: &mut Courier<MailboxClient>,
        waited: Option<EndedWait>,
        left: &mut Vec<CourierError>,
    ) -> Result<Option<Stored>, CourierError> {
        let Some(waited) = waited else { return Ok(None) };
        let place = waited.place.clone();
        self.waiting.remove(&place.mailbox);
        let ended = courier.wire().end_wait(waited).map_err(CourierError::from);
        let stored = ended.and_then(|answer| match answer {
            MailboxReply::Letters(found) => {
                let generation = found.generation;
                Ok((place.clone(), generation, courier.take(&place, found, now())?))
            }
            MailboxReply::Refused(refusal) => Err(refusal.into()),
            _ => Err(MailboxRefusal::Malformed.into()),
        });
        match stored {
            Ok(stored) => Ok(Some(stored)),
            // A connection that has ended is made again at once.
            Err(CourierError::Unreached(_)) => Ok(None),
            Err(error) => self.postpone(courier, &place, error, left).map(|()| None),
        }
    }

    /// Acknowledges what was `stored`, does what is pending, and waits at all mailboxes.
    fn go_on(
        &mut self,
        courier: &mut Courier<MailboxClient>,
        stored: Option<Stored>,
        left: &mut Vec<CourierError>,
    ) -> Result<(), CourierError> {
        if let Some((place, generation, upto)) = stored {
            let told = upto.map_or(Ok(()), |upto| courier.acknowledge(&place, generation, upto));
            let now = self.began.elapsed();
            let is_often = !self.answers.allows(place.mailbox, now);
            match told {
                Err(error) => self.postpone(courier, &place, error, left)?,
                Ok(()) if is_often => {
                    courier.wire().disconnect(&place);
                    let pause = self.answers.next(place.mailbox).saturating_sub(now);
                    self.retry_at.insert(place.mailbox, Instant::now() + pause);
                }
                Ok(()) => self.wait(courier, &place, left)?,
            }
        }
        left.extend(courier.deliver(now())?);
        let places: Vec<_> = courier.person().mailboxes().cloned().collect();
        for place in places {
            let is_later = self.retry_at.get(&place.mailbox).is_some_and(|at| *at > Instant::now());
            if !is_later && !self.waiting.contains(&place.mailbox) {
                // The mailbox must not learn what its owner has left there for others.
                courier.wire().disconnect(&place);
                self.wait(courier, &place, left)?;
            }
        }
        Ok(())
    }

    /// Begins to wait at `place`, on the connection that is open or on a new one.
    fn wait(
        &mut self,
        courier: &mut Courier<MailboxClient>,
        place: &MailboxAddress,
        left: &mut Vec<CourierError>,
    ) -> Result<(), CourierError> {
        let signed = courier.sign_as_owner(place, MailboxRequest::Wait);
        let begun = signed.and_then(|request| Ok(courier.wire().begin_wait(place, request)?));
        match begun {
            Ok(()) => {
                self.retry_at.remove(&place.mailbox);
                self.waiting.insert(place.mailbox);
                Ok(())
            }
            Err(error) => self.postpone(courier, place, error, left),
        }
    }

    /// Asks `place` again later, if `error` is not final.
    fn postpone(
        &mut self,
        courier: &mut Courier<MailboxClient>,
        place: &MailboxAddress,
        error: CourierError,
        left: &mut Vec<CourierError>,
    ) -> Result<(), CourierError> {
        if error.is_final() {
            return Err(error);
        }
        courier.wire().disconnect(place);
        self.retry_at.insert(place.mailbox, Instant::now() + RETRY_DELAY);
        left.push(error);
        Ok(())
    }

    /// How long there is nothing to do but to wait.
    fn limit(&self, courier: &Courier<MailboxClient>) -> Duration {
        let until = |at: &Instant| at.saturating_duration_since(Instant::now());
        let next = self.retry_at.values().map(until).min();
        let has_pending = !courier.person().pending_actions(now()).is_empty();
        let pending = has_pending.then_some(RETRY_DELAY);
        next.into_iter().chain(pending).min().unwrap_or(MAX_WAIT)
    }
}
