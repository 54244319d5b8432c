//! Anonymous requests: claiming a prekey, and depositing a message.

use std::net::IpAddr;
use std::time::Duration;

use redb::{ReadableTable, WriteTransaction};
use sha2::{Digest, Sha256};

use super::tables::{LETTERS, PREKEYS, SEEN, person, put_person};
use super::{Mailbox, Outcome};
use octet_messages::envelope;
use octet_messages::request::{MailboxRefusal, MailboxReply};

impl Mailbox {
    /// Returns a one-time key, or the fallback key if none is left or the rate limit is exceeded.
    /// So nobody can exhaust the one-time keys, or prevent others from writing.
    pub(super) fn claim(
        &mut self,
        transaction: &WriteTransaction,
        name: &[u8; 32],
        source: IpAddr,
        now: u64,
    ) -> Outcome {
        if !self.claims.allows(source, Duration::from_secs(now)) {
            return Err(MailboxRefusal::Busy.into());
        }
        let resident = person(transaction, name)?.ok_or(MailboxRefusal::NoMailbox)?;
        let card = resident.card.ok_or(MailboxRefusal::NoKeys)?;
        let mut prekeys = transaction.open_table(PREKEYS)?;
        let next = prekeys.range((name, 0)..=(name, u64::MAX))?.next().transpose()?;
        let next = next.map(|(key, value)| (key.value().1, value.value().to_vec()));
        match next {
            Some((number, prekey)) if self.keys_of.allows(*name, Duration::from_secs(now)) => {
                prekeys.remove((name, number))?;
                Ok((MailboxReply::Claimed(card, prekey), true))
            }
            _ => {
                let fallback = resident.fallback.ok_or(MailboxRefusal::NoKeys)?;
                Ok((MailboxReply::Claimed(card, fallback), false))
            }
        }
    }

    pub(super) fn deposit(
        &mut self,
        transaction: &WriteTransaction,
        name: &[u8; 32],
        envelope: &[u8],
        source: IpAddr,
        now: u64,
    ) -> Outcome {
        if !envelope::is_size(envelope.len()) {
            return Err(MailboxRefusal::Malformed.into());
        }
        if !self.deposits.allows(source, Duration::from_secs(now)) {
            return Err(MailboxRefusal::Busy.into());
        }
        let mut resident = person(transaction, name)?.ok_or(MailboxRefusal::NoMailbox)?;
        let digest: [u8; 32] = Sha256::digest(envelope).into();
        let mut seen = transaction.open_table(SEEN)?;
        if seen.get((name, &digest))?.is_some() {
            // A repeated request, whose answer was lost.
            return Ok((MailboxReply::Done, false));
        }
        let length = envelope.len() as u64;
        let limits = self.limits;
        if resident.letters >= limits.letters
            || resident.bytes + length > limits.bytes
            || self.total + length > limits.all_bytes
        {
            return Err(MailboxRefusal::Full.into());
        }
        let number = resident.next;
        resident.next += 1;
        resident.letters += 1;
        resident.bytes += length;
        let saved = [&now.saturating_add(limits.lifetime).to_be_bytes()[..], envelope].concat();
        transaction.open_table(LETTERS)?.insert((name, number), saved.as_slice())?;
        seen.insert((name, &digest), number)?;
        put_person(transaction, name, &resident)?;
        Ok((MailboxReply::Done, true))
    }
}
