//! Pending requests, derived from the stored state.

use octet_node::control::PublicKey;

use super::Person;
use super::contact::Sealed;
use crate::limits::RESEND_INTERVAL;
use crate::mailbox_address::MailboxAddress;

/// The content of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvelopeContent {
    /// The text with this number.
    Text(u64),
    Receipt,
}

/// A request to a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxAction {
    /// Publish the bundle at an own mailbox.
    Publish {
        place: MailboxAddress,
        /// The encoded bundle.
        bundle: Vec<u8>,
    },
    /// Claim a prekey to start a session.
    Claim { place: MailboxAddress, peer: PublicKey },
    /// Store an envelope.
    Deposit { place: MailboxAddress, peer: PublicKey, what: EnvelopeContent, envelope: Vec<u8> },
}

impl Person {
    pub fn mailboxes(&self) -> impl Iterator<Item = &MailboxAddress> {
        self.own.mailboxes.iter().map(|state| &state.address)
    }

    /// The pending requests at `now`, in seconds since 1970. Texts to one contact keep their order
    /// at each mailbox. Of several claims for one contact, the first success is enough.
    pub fn pending_actions(&self, now: u64) -> Vec<MailboxAction> {
        let publish = self.bundles().map(|(place, bundle)| MailboxAction::Publish {
            place: place.clone(),
            bundle: bundle.to_bytes(),
        });
        let mut actions: Vec<MailboxAction> = publish.collect();
        for (name, peer) in &self.contacts {
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
                            .is_none_or(|at| now.saturating_sub(*at) >= RESEND_INTERVAL)
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
