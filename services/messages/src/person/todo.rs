//! What is to be done, worked out from what was kept.

use octet_node::control::PublicKey;

use super::Person;
use super::peer::Sealed;
use crate::limits::AGAIN;
use crate::place::MailboxAddress;

/// What lies in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvelopeContent {
    /// The text with this number.
    Text(u64),
    Receipt,
}

/// Something that is to be asked of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxAction {
    /// One's own is to be told how one is reached.
    Publish {
        place: MailboxAddress,
        /// What: the encoding of a bundle.
        bundle: Vec<u8>,
    },
    /// A key is to be had with which a session begins.
    Claim { place: MailboxAddress, peer: PublicKey },
    /// An envelope is to be kept.
    Deposit { place: MailboxAddress, peer: PublicKey, what: EnvelopeContent, envelope: Vec<u8> },
}

impl Person {
    pub fn mailboxes(&self) -> impl Iterator<Item = &MailboxAddress> {
        self.own.homes.iter().map(|home| &home.place)
    }

    /// What is to be done at `now`, in seconds since 1970. Letters to one peer come in their order at each of the
    /// mailboxes. Of several claims about one peer the first that succeeds is enough.
    pub fn todo(&self, now: u64) -> Vec<MailboxAction> {
        let publish = self.bundles().map(|(place, bundle)| MailboxAction::Publish {
            place: place.clone(),
            bundle: bundle.to_bytes(),
        });
        let mut actions: Vec<MailboxAction> = publish.collect();
        for (name, peer) in &self.peers {
            for place in peer.mailboxes() {
                if peer.wants_session() {
                    actions.push(MailboxAction::Claim { place: place.clone(), peer: *name });
                }
                let mut deposit = |what, sealed: &Sealed| {
                    let (place, envelope) = (place.clone(), sealed.envelope.clone());
                    actions.push(MailboxAction::Deposit { place, peer: *name, what, envelope });
                };
                for (number, outgoing) in &peer.outgoing {
                    if let Some(sealed) = &outgoing.sealed
                        && sealed
                            .left
                            .get(&place.mailbox)
                            .is_none_or(|at| now.saturating_sub(*at) >= AGAIN)
                    {
                        deposit(EnvelopeContent::Text(*number), sealed);
                    }
                }
                if let Some(sealed) = &peer.receipt
                    && !sealed.left.contains_key(&place.mailbox)
                {
                    deposit(EnvelopeContent::Receipt, sealed);
                }
            }
        }
        actions
    }
}
