//! Requests to a mailbox, and its answers: encoded with postcard, one of each per QUIC stream.

use octet_node::control::PublicKey;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_ANSWER, MAX_REQUEST};
use crate::rows::{decode, encode};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignedRequest {
    /// Requests a nonce, with which the owner signs the next request on this connection.
    Nonce,
    /// Requests the keys that start a session with the person of this name.
    Claim([u8; 32]),
    /// Stores an envelope for the person of this name.
    Deposit([u8; 32], Vec<u8>),
    /// A request that only the mailbox's owner may make.
    Owner(Owned),
    /// Makes the node's gate run a command that an operator has signed; sent by the messenger of
    /// another board of the box.
    Run(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    pub name: [u8; 32],
    pub asked: MailboxRequest,
    /// The signature over [`signed_bytes`].
    pub signature: Vec<u8>,
}

/// The requests of an owner, without the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxRequest {
    /// Publishes the owner's keys and mailboxes: the encoding of a bundle.
    Publish(Vec<u8>),
    Fetch,
    /// Deletes messages up to this number, if they were fetched with this generation.
    Acknowledge([u8; 16], u64),
    /// Like `Fetch`, but answered only once there is a message, or after [`MAX_WAIT`]: a long poll
    /// (RFC 6202).
    ///
    /// [`MAX_WAIT`]: crate::limits::MAX_WAIT
    Wait,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxReply {
    Nonce([u8; 32]),
    /// The request succeeded, and its effect is on disk.
    Done,
    /// The encodings of a card and a prekey.
    Claimed(Vec<u8>, Vec<u8>),
    Letters(Letters),
    Refused(MailboxRefusal),
    Said(String),
}

/// The messages in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// The generation of the numbers: a new disk starts a new one.
    pub generation: [u8; 16],
    /// The messages with their numbers, the oldest first.
    pub letters: Vec<(u64, Vec<u8>)>,
    /// The number of one-time keys left.
    pub left: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MailboxRefusal {
    /// There is no mailbox for this name.
    #[error(
        "there is no such mailbox: its box's owner makes one, `octetctl messenger admit did:key:…`"
    )]
    NoMailbox,
    /// The person has not published keys yet.
    #[error("they have not been at their mailbox yet: it has no keys of theirs")]
    NoKeys,
    #[error("their mailbox is full: try again later")]
    Full,
    #[error("that was too often: try again later")]
    Busy,
    /// The request is malformed.
    #[error("the mailbox does not understand that: it may be of another version")]
    Malformed,
    /// The signature is not the owner's, or covers another request.
    #[error(
        "the signature is not by the mailbox's owner: after a restore only the restored copy has access, and only if its clock was right"
    )]
    Forged,
    /// The messages were numbered anew.
    #[error("the mailbox has lost its disk since: fetch again")]
    OtherGeneration,
    /// The mailbox has an internal error.
    #[error("the mailbox cannot do that now: its log says why")]
    Broken,
    /// The sender is not a board of this box.
    #[error("only another board of the same box brings commands here")]
    NoBoard,
    /// The signer of the command is not an operator of this box.
    #[error("it is not signed by an operator of that board")]
    NoOperator,
    /// Too many clients wait for messages: of this owner, of this address, or in all.
    #[error("too many already wait there for messages: it is asked again every minute")]
    TooManyWaiting,
}

/// The signed bytes: the mailbox's key, its nonce, the owner's name, and the request.
pub fn signed_bytes(
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
        (bytes.len() <= MAX_REQUEST).then(|| decode(bytes))?
    }
}

impl MailboxReply {
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= MAX_ANSWER).then(|| decode(bytes))?
    }
}
