//! Requests of a mailbox's owner, who signs a nonce.

use octet_node::control::PublicKey;
use octet_node::key::{Domain, verify};
use redb::{ReadableTable, WriteTransaction};
use sha2::{Digest, Sha256};

use super::tables::{LETTERS, MailboxOwner, PREKEYS, SEEN, person, put_person};
use super::{Mailbox, Outcome, Problem, Visit};
use octet_messages::card::ContactCard;
use octet_messages::limits::{MAX_BATCH, ONE_TIME_KEYS};
use octet_messages::prekey::{Bundle, PrekeyUse};
use octet_messages::request::{
    Letters, MailboxRefusal, MailboxReply, MailboxRequest, Owned, signed_bytes,
};

/// The size of the time before each envelope, in bytes.
const TIME: usize = 8;

impl Mailbox {
    pub(super) fn handle_owner(
        &mut self,
        transaction: &WriteTransaction,
        visit: &mut Visit,
        owned: &Owned,
        now: u64,
    ) -> Outcome {
        // The nonce is used up, whatever the result.
        let nonce = visit.nonce.take().ok_or(MailboxRefusal::Forged)?;
        let name = &owned.name;
        let resident = person(transaction, name)?.ok_or(MailboxRefusal::NoMailbox)?;
        let known = match &resident.card {
            Some(card) => Some(ContactCard::from_bytes(card).map_err(|_| MailboxRefusal::Broken)?),
            None => None,
        };
        let bundle = match &owned.asked {
            MailboxRequest::Publish(bundle) => {
                Some(Bundle::from_bytes(bundle).map_err(|_| MailboxRefusal::Malformed)?)
            }
            _ => None,
        };
        let card = bundle.as_ref().map(|bundle| &bundle.card).or(known.as_ref());
        let card = card.ok_or(MailboxRefusal::NoKeys)?;
        let signed = signed_bytes(&self.own, &nonce, name, &owned.asked);
        let is_own = card.name() == PublicKey::new(*name)
            && verify(&card.key(), Domain::Mailbox, &signed, &owned.signature);
        if !is_own || known.as_ref().is_some_and(|known| !card.follows(known)) {
            return Err(MailboxRefusal::Forged.into());
        }
        match (&owned.asked, bundle) {
            (MailboxRequest::Publish(_), Some(bundle)) => {
                let begins_anew = known.is_some_and(|known| is_replaced(&known, &bundle.card));
                publish(transaction, name, resident, &bundle, begins_anew)
            }
            // The server answers `Wait` later, if it has found nothing.
            (MailboxRequest::Fetch | MailboxRequest::Wait, _) => self.fetch(transaction, name, now),
            (MailboxRequest::Acknowledge(generation, upto), _) => {
                if *generation != self.generation {
                    return Err(MailboxRefusal::OtherGeneration.into());
                }
                Ok((
                    MailboxReply::Done,
                    delete(transaction, name, resident, |number, _| number <= *upto)?,
                ))
            }
            (MailboxRequest::Publish(_), None) => Err(MailboxRefusal::Malformed.into()),
        }
    }

    fn fetch(&self, transaction: &WriteTransaction, name: &[u8; 32], now: u64) -> Outcome {
        let mut letters: Vec<(u64, Vec<u8>)> = vec![];
        let mut room = MAX_BATCH;
        let table = transaction.open_table(LETTERS)?;
        for pair in table.range((name, 0)..=(name, u64::MAX))? {
            let (key, value) = pair?;
            let Some((goes, envelope)) = value.value().split_first_chunk::<TIME>() else {
                continue;
            };
            if u64::from_be_bytes(*goes) <= now {
                continue;
            }
            if envelope.len() > room && !letters.is_empty() {
                break;
            }
            room = room.saturating_sub(envelope.len());
            letters.push((key.value().1, envelope.to_vec()));
        }
        let left = count(transaction, name)? as u32;
        Ok((MailboxReply::Letters(Letters { generation: self.generation, letters, left }), false))
    }
}

/// The number of one-time keys.
fn count(transaction: &WriteTransaction, name: &[u8; 32]) -> Result<usize, redb::Error> {
    let prekeys = transaction.open_table(PREKEYS)?;
    Ok(prekeys.range((name, 0)..=(name, u64::MAX))?.count())
}

/// Whether prekeys for one card are invalid for the other.
fn is_replaced(known: &ContactCard, card: &ContactCard) -> bool {
    card.key() != known.key() || card.details().identity != known.details().identity
}

fn publish(
    transaction: &WriteTransaction,
    name: &[u8; 32],
    mut resident: MailboxOwner,
    bundle: &Bundle,
    is_restart: bool,
) -> Outcome {
    if is_restart {
        // They start no session any more, and cannot return, because their card is outdated.
        let mut prekeys = transaction.open_table(PREKEYS)?;
        prekeys.retain_in((name, 0)..=(name, u64::MAX), |_, _| false)?;
        (resident.fallback, resident.last_prekey) = (None, 0);
    }
    let mut room = ONE_TIME_KEYS.saturating_sub(count(transaction, name)?);
    let mut prekeys = transaction.open_table(PREKEYS)?;
    let mut last = resident.last_prekey;
    for prekey in &bundle.prekeys {
        // A key that was stored once may have been given away.
        if prekey.number <= resident.last_prekey {
            continue;
        }
        last = last.max(prekey.number);
        match prekey.usage {
            PrekeyUse::Fallback => resident.fallback = Some(prekey.to_bytes()),
            PrekeyUse::OneTime if room > 0 => {
                room -= 1;
                prekeys.insert((name, prekey.number), prekey.to_bytes().as_slice())?;
            }
            PrekeyUse::OneTime => {}
        }
    }
    resident.last_prekey = last;
    resident.card = Some(bundle.card.to_bytes());
    put_person(transaction, name, &resident)?;
    Ok((MailboxReply::Done, true))
}

/// Deletes the messages of `name` for which `goes` is true, by number and expiry. Returns whether
/// there were any.
pub(super) fn delete(
    transaction: &WriteTransaction,
    name: &[u8; 32],
    mut resident: MailboxOwner,
    is_deleted: impl Fn(u64, u64) -> bool,
) -> Result<bool, Problem> {
    let mut letters = transaction.open_table(LETTERS)?;
    let mut gone = vec![];
    for pair in letters.range((name, 0)..=(name, u64::MAX))? {
        let (key, value) = pair?;
        let (number, value) = (key.value().1, value.value());
        let (time, envelope) = value.split_at(TIME.min(value.len()));
        let time = time.try_into().map_or(0, u64::from_be_bytes);
        if is_deleted(number, time) {
            let digest: [u8; 32] = Sha256::digest(envelope).into();
            gone.push((number, digest, envelope.len() as u64));
        }
    }
    let mut seen = transaction.open_table(SEEN)?;
    for (number, digest, length) in &gone {
        letters.remove((name, *number))?;
        seen.remove((name, digest))?;
        resident.letters = resident.letters.saturating_sub(1);
        resident.bytes = resident.bytes.saturating_sub(*length);
    }
    if !gone.is_empty() {
        put_person(transaction, name, &resident)?;
    }
    Ok(!gone.is_empty())
}
