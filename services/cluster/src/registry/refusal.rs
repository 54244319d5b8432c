//! Why a node is not accepted as a board.

use octet_node::control::PublicKey;
use octet_node::map::MAX_CERTIFICATES;

use crate::rules::Forbidden;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// It claims another number.
    #[error("it has the number of board {0}: plug it into that port, or change its number")]
    ClaimsAnother(u8),
    /// It has the coordinator's key.
    #[error("it has the coordinator's own key: a copy of the coordinator's disk is no board")]
    CoordinatorsKey,
    /// The coordinator is this board itself.
    #[error(
        "the coordinator is board {0} itself: another takes that place by an owner's statement"
    )]
    CoordinatorsPlace(u8),
    #[error("its key was revoked: reset it, which gives it another")]
    Revoked,
    /// Its certificates are another node's, or too many.
    #[error("what it says about its services is another's, or of more than {MAX_CERTIFICATES}")]
    Certificates,
    /// Its `cluster` key is outdated.
    #[error(
        "its key is number {shown}, and number {seen} was seen before: the old one may be compromised"
    )]
    Replayed {
        /// The presented epoch.
        shown: u64,
        /// The highest known epoch.
        seen: u64,
    },
    #[error("{0}: see [cluster] and [[board]]")]
    Forbidden(#[from] Forbidden),
    #[error("it is board {0}: plug it into that port, or say `cluster replace` of both numbers")]
    Elsewhere(u8),
    /// Another node is this board.
    #[error(
        "board {number} is {known}: an owner says `cluster replace {number}` if this one takes its place"
    )]
    Another { number: u8, known: PublicKey },
    /// The key of this board was revoked.
    #[error(
        "the key of board {0} was revoked: an owner says `cluster replace {0}` before another is taken"
    )]
    Closed(u8),
    /// An owner's record requires another key.
    #[error("an owner has said that {0} takes this place")]
    NotRecorded(PublicKey),
}
