//! What is to be done, worked out from what was kept.

use octet_node::control::PublicKey;

use super::Person;
use super::peer::Stage;
use crate::limits::AGAIN;
use crate::place::Place;

/// What lies in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The text with this number.
    Text(u64),
    /// How many have come.
    Receipt,
}

/// Something that is to be asked of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// One's own is to be told how one is reached.
    Publish {
        /// Where.
        place: Place,
        /// What: the encoding of a bundle.
        bundle: Vec<u8>,
    },
    /// A key is to be had with which a session begins.
    Claim {
        /// Where.
        place: Place,
        /// With whom.
        peer: PublicKey,
    },
    /// An envelope is to be kept.
    Deposit {
        /// Where.
        place: Place,
        /// For whom.
        peer: PublicKey,
        /// What it is.
        what: What,
        /// The envelope.
        envelope: Vec<u8>,
    },
}

impl Person {
    /// One's own mailbox: the first.
    pub fn mailbox(&self) -> Option<&Place> {
        self.own.places.first()
    }

    /// What is to be done at `now`, in seconds since 1970. Letters to one peer come in their order.
    pub fn todo(&self, now: u64) -> Vec<Action> {
        let publish = self.mailbox().zip(self.bundle()).map(|(place, bundle)| Action::Publish {
            place: place.clone(),
            bundle: bundle.to_bytes(),
        });
        let mut actions: Vec<Action> = publish.into_iter().collect();
        for (name, peer) in &self.peers {
            let Some(place) = peer.place() else { continue };
            let mut stages = peer.outgoing.values().map(|outgoing| &outgoing.stage);
            if peer.sessions.is_empty() && stages.any(|stage| matches!(stage, Stage::Waiting(_))) {
                actions.push(Action::Claim { place: place.clone(), peer: *name });
            }
            let mut deposit = |what, envelope: &[u8]| {
                let (place, envelope) = (place.clone(), envelope.to_vec());
                actions.push(Action::Deposit { place, peer: *name, what, envelope });
            };
            for (number, outgoing) in &peer.outgoing {
                if let Stage::Sealed(envelope, at) = &outgoing.stage
                    && at.is_none_or(|at| now.saturating_sub(at) >= AGAIN)
                {
                    deposit(What::Text(*number), envelope);
                }
            }
            if let Some(envelope) = &peer.receipt {
                deposit(What::Receipt, envelope);
            }
        }
        actions
    }
}
