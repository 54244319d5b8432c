//! The types over which Malachite's state machine is generic. Its traits only hand out fields.

use std::fmt;
use std::sync::Arc;

use arc_malachitebft_core_types as malachite;
use borsh::{BorshDeserialize, BorshSerialize};
use malachite::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType};
use octet_coins::{BlockHash, LedgerState};
use octet_node::control::PublicKey;

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

bytes!(
    /// The public key of a validator, which is also its address.
    ValidatorKey, 32
);
bytes!(
    /// The hash of a block. The state machine knows blocks by it.
    BlockValue, 32
);
bytes!(
    /// An Ed25519 signature of a vote or a proposal.
    VoteSignature, 64
);

impl From<PublicKey> for ValidatorKey {
    fn from(key: PublicKey) -> Self {
        Self(*key.as_bytes())
    }
}

impl From<ValidatorKey> for PublicKey {
    fn from(key: ValidatorKey) -> Self {
        Self::new(key.0)
    }
}

impl From<BlockHash> for BlockValue {
    fn from(hash: BlockHash) -> Self {
        Self(hash.0)
    }
}

impl malachite::Address for ValidatorKey {}

impl malachite::Value for BlockValue {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// The height of a block. The first one has height 1.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct BlockHeight(pub u64);

impl fmt::Display for BlockHeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl malachite::Height for BlockHeight {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// Blocks are sent whole, beside their proposals.
impl malachite::ProposalPart<Bft> for () {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// A validator with its vote: all have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter(pub ValidatorKey);

impl malachite::Validator<Bft> for Voter {
    fn address(&self) -> &ValidatorKey {
        &self.0
    }

    fn public_key(&self) -> &ValidatorKey {
        &self.0
    }

    fn voting_power(&self) -> u64 {
        1
    }
}

/// The validators of the height after a state, and whose turn it is in each of its rounds.
#[derive(Clone, Debug)]
pub struct Voters {
    all: Vec<Voter>,
    state: Arc<LedgerState>,
}

impl PartialEq for Voters {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all && self.state.tip() == other.state.tip()
    }
}

impl Eq for Voters {}

impl Voters {
    pub fn new(state: Arc<LedgerState>) -> Self {
        let all = state.validators().iter().map(|one| Voter(one.key.into())).collect();
        Self { all, state }
    }

    pub fn contains(&self, key: &ValidatorKey) -> bool {
        self.all.iter().any(|one| one.0 == *key)
    }

    pub fn proposer(&self, round: u32) -> &Voter {
        let key = self.state.proposer(round).into();
        self.all.iter().find(|one| one.0 == key).unwrap_or(&self.all[0])
    }
}

impl malachite::ValidatorSet<Bft> for Voters {
    fn count(&self) -> usize {
        self.all.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.all.len() as u64
    }

    fn get_by_address(&self, key: &ValidatorKey) -> Option<&Voter> {
        self.all.iter().find(|one| one.0 == *key)
    }

    fn get_by_index(&self, index: usize) -> Option<&Voter> {
        self.all.get(index)
    }
}

/// A prevote or a precommit, for a block or for none.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ConsensusVote {
    pub kind: VoteType,
    pub height: BlockHeight,
    pub round: Round,
    pub value: NilOrVal<BlockValue>,
    pub from: ValidatorKey,
}

impl malachite::Vote<Bft> for ConsensusVote {
    fn height(&self) -> BlockHeight {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockValue> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockValue> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.from
    }

    fn extension(&self) -> Option<&SignedExtension<Bft>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Bft>> {
        None
    }

    fn extend(self, _: SignedExtension<Bft>) -> Self {
        self
    }
}

/// The proposal of a block in a round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ConsensusProposal {
    pub height: BlockHeight,
    pub round: Round,
    pub value: BlockValue,
    /// The earlier round in which two thirds prevoted for the block; nil if it is new.
    pub valid_round: Round,
    pub from: ValidatorKey,
}

impl malachite::Proposal<Bft> for ConsensusProposal {
    fn height(&self) -> BlockHeight {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockValue {
        &self.value
    }

    fn take_value(self) -> BlockValue {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.valid_round
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.from
    }
}

/// Ed25519. The state machine never signs: it asks for signatures by effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ed25519Votes;

impl malachite::SigningScheme for Ed25519Votes {
    type DecodingError = &'static str;
    type Signature = VoteSignature;
    type PublicKey = ValidatorKey;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<VoteSignature, &'static str> {
        bytes.try_into().map(VoteSignature).map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &VoteSignature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<ValidatorKey, &'static str> {
        bytes.try_into().map(ValidatorKey).map_err(|_| "a key has 32 bytes")
    }

    fn encode_public_key(key: &ValidatorKey) -> Vec<u8> {
        key.0.to_vec()
    }
}

/// The parameters of the state machine (Malachite's `Context`).
#[derive(Clone, Copy, Debug)]
pub struct Bft;

impl malachite::Context for Bft {
    type Address = ValidatorKey;
    type Height = BlockHeight;
    type ProposalPart = ();
    type Proposal = ConsensusProposal;
    type Validator = Voter;
    type ValidatorSet = Voters;
    type Timeouts = LinearTimeouts;
    type Value = BlockValue;
    type Vote = ConsensusVote;
    type Extension = ();
    type SigningScheme = Ed25519Votes;

    fn select_proposer<'a>(&self, voters: &'a Voters, _: BlockHeight, round: Round) -> &'a Voter {
        voters.proposer(round.as_u32().unwrap_or(0))
    }

    fn new_proposal(
        &self,
        height: BlockHeight,
        round: Round,
        value: BlockValue,
        valid_round: Round,
        from: ValidatorKey,
    ) -> ConsensusProposal {
        ConsensusProposal { height, round, value, valid_round, from }
    }

    fn new_prevote(
        &self,
        height: BlockHeight,
        round: Round,
        value: NilOrVal<BlockValue>,
        from: ValidatorKey,
    ) -> ConsensusVote {
        ConsensusVote { kind: VoteType::Prevote, height, round, value, from }
    }

    fn new_precommit(
        &self,
        height: BlockHeight,
        round: Round,
        value: NilOrVal<BlockValue>,
        from: ValidatorKey,
    ) -> ConsensusVote {
        ConsensusVote { kind: VoteType::Precommit, height, round, value, from }
    }
}
