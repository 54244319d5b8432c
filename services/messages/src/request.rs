//! What is asked of a mailbox, and what it answers: postcard, one of each in a stream of QUIC.

use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::limits::{ANSWER, REQUEST};
use crate::rows::{decode, encode};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignedRequest {
    /// A number that is used once, to sign the next thing that an owner asks on this connection.
    Nonce,
    /// What sessions with somebody begin with.
    Claim([u8; 32]),
    /// To keep an envelope for somebody.
    Deposit([u8; 32], Vec<u8>),
    /// Something that only the mailbox's owner may.
    Owner(Owned),
    /// To have the node's gate run a command that an operator has signed: from the messenger of another board of
    /// the box.
    Run(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    pub name: [u8; 32],
    pub asked: MailboxRequest,
    /// The signature over [`to_sign`].
    pub signature: Vec<u8>,
}

/// The same, without a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxRequest {
    /// To tell others how one is reached: the encoding of a bundle.
    Publish(Vec<u8>),
    Fetch,
    /// To delete letters up to this one, of those that were given with this generation.
    Acknowledge([u8; 16], u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxReply {
    Nonce([u8; 32]),
    /// It is done, and on disk.
    Done,
    /// The encodings of a card and a prekey.
    Claimed(Vec<u8>, Vec<u8>),
    Letters(Letters),
    Refused(MailboxRefusal),
    Said(String),
}

/// Letters that lie in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// With which disk their numbers began.
    pub generation: [u8; 16],
    /// Each with its number, the oldest first.
    pub letters: Vec<(u64, Vec<u8>)>,
    /// How many one-time keys are left.
    pub left: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MailboxRefusal {
    /// There is no such mailbox.
    #[error(
        "there is no such mailbox: its box's owner makes one, `octetctl messenger admit did:key:…`"
    )]
    NoMailbox,
    /// They have not said how they are reached.
    #[error("they have not been at their mailbox yet: it has no keys of theirs")]
    NoKeys,
    #[error("their mailbox is full: try again later")]
    Full,
    #[error("that was too often: try again later")]
    Busy,
    /// It is not as it must be.
    #[error("the mailbox does not understand that: it may be of another version")]
    Malformed,
    /// The signature is not the owner's, or was for something else.
    #[error(
        "that is not signed by whom the mailbox knows as its owner: who was restored by a back-up is let in from there \
         alone, and only if the clock was right"
    )]
    Forged,
    /// The letters are numbered anew.
    #[error("the mailbox has lost its disk since: fetch again")]
    OtherGeneration,
    /// The mailbox is at fault.
    #[error("the mailbox cannot do that now: its log says why")]
    Broken,
    /// It comes from somebody else.
    #[error("only another board of the same box brings commands here")]
    NoBoard,
    /// Whoever has signed the command is no operator there.
    #[error("it is signed by nobody whom that board has as an operator")]
    NoOperator,
}

/// What is signed: the mailbox, the number that it gave, whose mailbox it is, and what is asked.
pub fn to_sign(
    mailbox: &PublicKey,
    nonce: &[u8; 32],
    name: &[u8; 32],
    asked: &MailboxRequest,
) -> Vec<u8> {
    [mailbox.as_bytes(), nonce, name, encode(asked).as_slice()].concat()
}

impl SignedRequest {
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= REQUEST).then(|| decode(bytes))?
    }
}

impl MailboxReply {
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= ANSWER).then(|| decode(bytes))?
    }
}
