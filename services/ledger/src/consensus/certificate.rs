//! Certificates: votes of more than two thirds of the validators. The state machine leaves their verification to its
//! caller, and all safety depends on it.

use arc_malachitebft_core_types::{
    CertificateError, CommitCertificate, CommitSignature, NilOrVal, Round, RoundCertificate,
    RoundCertificateType, SignedVote, ThresholdParam, ValidatorSet, VoteType,
};
use octet_coins::BlockHash;
use octet_node::bytes::Fields;

use super::signing::is_vote;
use super::types::{
    Bft, BlockHeight, BlockValue, ConsensusVote, ValidatorKey, VoteSignature, Voters,
};

type InvalidCertificate = Box<CertificateError<Bft>>;

/// The precommits with which a block was decided. Certificates of one block may differ: in their round, and in whose
/// votes they have. So nothing may be derived from them but that the block was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCertificate {
    pub height: u64,
    pub round: u32,
    pub block: BlockHash,
    pub signatures: Vec<(ValidatorKey, VoteSignature)>,
}

impl BlockCertificate {
    /// The encoding: height (8 bytes), round (4), hash of the block (32), the number of signatures (2), and for each
    /// the validator's key (32) and its signature of a precommit (64). Numbers are big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.height.to_be_bytes().to_vec();
        out.extend_from_slice(&self.round.to_be_bytes());
        out.extend_from_slice(&self.block.0);
        out.extend_from_slice(&(self.signatures.len() as u16).to_be_bytes());
        for (key, signature) in &self.signatures {
            out.extend_from_slice(&key.0);
            out.extend_from_slice(&signature.0);
        }
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (height, round, block) = (fields.u64()?, fields.u32()?, BlockHash(fields.array()?));
        let count = fields.u16()?;
        let signatures = (0..count)
            .map(|_| Some((ValidatorKey(fields.array()?), VoteSignature(fields.array()?))));
        let signatures = signatures.collect::<Option<_>>()?;
        fields.0.is_empty().then_some(Self { height, round, block, signatures })
    }

    /// Whether more than two thirds of `voters` precommitted the block.
    pub fn is_valid(&self, genesis: &BlockHash, voters: &Voters) -> bool {
        check_commit(genesis, &self.to_malachite(), voters).is_ok()
    }

    pub(super) fn from_malachite(certificate: &CommitCertificate<Bft>) -> Self {
        let signatures = certificate.commit_signatures.iter();
        Self {
            height: certificate.height.0,
            round: certificate.round.as_u32().unwrap_or(0),
            block: BlockHash(certificate.value_id.0),
            signatures: signatures.map(|one| (one.address, one.signature)).collect(),
        }
    }

    pub(super) fn to_malachite(&self) -> CommitCertificate<Bft> {
        let signatures = self.signatures.iter();
        CommitCertificate {
            height: BlockHeight(self.height),
            round: Round::new(self.round),
            value_id: BlockValue(self.block.0),
            commit_signatures: signatures
                .map(|(key, by)| CommitSignature::new(*key, *by))
                .collect(),
        }
    }
}

pub(super) fn check_commit(
    genesis: &BlockHash,
    certificate: &CommitCertificate<Bft>,
    voters: &Voters,
) -> Result<(), InvalidCertificate> {
    let vote = |from| ConsensusVote {
        kind: VoteType::Precommit,
        height: certificate.height,
        round: certificate.round,
        value: NilOrVal::Val(certificate.value_id),
        from,
    };
    let signatures = certificate.commit_signatures.iter();
    let votes = signatures.map(|one| SignedVote::new(vote(one.address), one.signature));
    check_votes(genesis, votes, voters, ThresholdParam::TWO_F_PLUS_ONE)
}

/// Checks that a round may be entered: by votes of a third (to skip rounds), or by precommits of two thirds.
pub(super) fn check_round(
    genesis: &BlockHash,
    certificate: &RoundCertificate<Bft>,
    voters: &Voters,
) -> Result<(), InvalidCertificate> {
    let least = match certificate.cert_type {
        RoundCertificateType::Skip => ThresholdParam::F_PLUS_ONE,
        RoundCertificateType::Precommit => ThresholdParam::TWO_F_PLUS_ONE,
    };
    let is_other = |kind| {
        certificate.cert_type == RoundCertificateType::Precommit && kind != VoteType::Precommit
    };
    if let Some(other) = certificate.round_signatures.iter().find(|one| is_other(one.vote_type)) {
        return Err(Box::new(CertificateError::InvalidVoteType(other.address)));
    }
    check_votes(genesis, certificate.votes(&Bft), voters, least)
}

/// Checks that votes are of different validators, genuine, and at least `least`.
pub(super) fn check_votes(
    genesis: &BlockHash,
    votes: impl Iterator<Item = SignedVote<Bft>>,
    voters: &Voters,
    least: ThresholdParam,
) -> Result<(), InvalidCertificate> {
    let mut seen = vec![];
    for vote in votes {
        let from = vote.message.from;
        if !voters.contains(&from) {
            return Err(Box::new(CertificateError::UnknownValidator(from)));
        }
        if seen.contains(&from) {
            return Err(Box::new(CertificateError::DuplicateVote(from)));
        }
        if !is_vote(genesis, &vote) {
            return Err(Box::new(CertificateError::VerificationError(None)));
        }
        seen.push(from);
    }
    let (signed, total) = (seen.len() as u64, voters.total_voting_power());
    match least.is_met(signed, total) {
        true => Ok(()),
        false => {
            let expected = least.min_expected(total);
            Err(Box::new(CertificateError::NotEnoughVotingPower { signed, total, expected }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arc_malachitebft_core_types::RoundSignature;
    use octet_coins::{Genesis, LedgerParameters, LedgerState, Validator};
    use octet_node::key::PrivateKey;
    use proptest::prelude::*;

    use super::super::signing::VoteSigner;
    use super::*;

    const BLOCK: BlockValue = BlockValue([7; 32]);

    fn key(at: u8) -> Arc<PrivateKey> {
        Arc::new(PrivateKey::from_seed([at; 32]).unwrap())
    }

    fn genesis(balance: u64) -> Genesis {
        let validator = |at: u8| Validator { owner: key(100 + at).public(), key: key(at).public() };
        let validators = (0..4).map(validator).collect();
        let seconds = LedgerParameters::with_spacing(Duration::from_secs(1));
        let parameters = LedgerParameters { spacing: Duration::ZERO, ..seconds };
        Genesis::new("test", validators, [(key(9).public(), balance)].into(), parameters).unwrap()
    }
    fn vote(at: u8, kind: VoteType, value: NilOrVal<BlockValue>) -> SignedVote<Bft> {
        let signer = VoteSigner::new(key(at), genesis(1).hash());
        let (height, round) = (BlockHeight(5), Round::new(2));
        signer.sign_vote(ConsensusVote { kind, height, round, value, from: signer.public() })
    }

    /// A certificate by the precommits of these validators.
    fn certificate(validators: &[u8]) -> BlockCertificate {
        let signatures = validators.iter().map(|at| {
            let vote = vote(*at, VoteType::Precommit, NilOrVal::Val(BLOCK));
            (vote.message.from, vote.signature)
        });
        let (height, round, block) = (5, 2, BlockHash(BLOCK.0));
        BlockCertificate { height, round, block, signatures: signatures.collect() }
    }

    fn voters() -> Voters {
        Voters::new(Arc::new(LedgerState::new(&genesis(1))))
    }

    fn is_valid(certificate: &BlockCertificate) -> bool {
        certificate.is_valid(&genesis(1).hash(), &voters())
    }

    #[test]
    fn three_of_four_decide() {
        assert!(is_valid(&certificate(&[0, 1, 2])));
        assert!(is_valid(&certificate(&[0, 1, 2, 3])));
        assert!(!is_valid(&certificate(&[0, 1])));
        assert!(!is_valid(&certificate(&[])));
        // The same vote twice is one vote, and a stranger has none.
        assert!(!is_valid(&certificate(&[0, 1, 1])));
        assert!(!is_valid(&certificate(&[0, 1, 2, 2])));
        assert!(!is_valid(&certificate(&[0, 1, 8])));
    }

    #[test]
    fn a_certificate_is_for_one_block_height_round_and_ledger() {
        let good = certificate(&[0, 1, 2]);
        assert!(is_valid(&good));
        assert!(!is_valid(&BlockCertificate { height: 6, ..good.clone() }));
        assert!(!is_valid(&BlockCertificate { round: 1, ..good.clone() }));
        assert!(!is_valid(&BlockCertificate { block: BlockHash([8; 32]), ..good.clone() }));
        assert!(!good.is_valid(&genesis(2).hash(), &voters()));
        let mut prevotes = good.clone();
        let prevote = vote(0, VoteType::Prevote, NilOrVal::Val(BLOCK));
        prevotes.signatures[0].1 = prevote.signature;
        assert!(!is_valid(&prevotes));
        let mut swapped = good;
        swapped.signatures[0].1 = swapped.signatures[1].1;
        assert!(!is_valid(&swapped));
    }

    #[test]
    fn a_round_is_entered_by_a_third_or_by_two_thirds_of_precommits() {
        let check = |cert_type, votes: &[(u8, VoteType)]| {
            let signatures = votes.iter().map(|(at, kind)| {
                let vote = vote(*at, *kind, NilOrVal::Nil);
                RoundSignature::new(*kind, NilOrVal::Nil, vote.message.from, vote.signature)
            });
            let certificate = RoundCertificate {
                height: BlockHeight(5),
                round: Round::new(2),
                cert_type,
                round_signatures: signatures.collect(),
            };
            check_round(&genesis(1).hash(), &certificate, &voters()).is_ok()
        };
        use RoundCertificateType::{Precommit as Full, Skip};
        use VoteType::{Precommit, Prevote};
        assert!(check(Skip, &[(0, Prevote), (1, Precommit)]));
        assert!(!check(Skip, &[(0, Prevote)]));
        assert!(!check(Skip, &[(0, Prevote), (0, Precommit)]));
        assert!(check(Full, &[(0, Precommit), (1, Precommit), (2, Precommit)]));
        assert!(!check(Full, &[(0, Precommit), (1, Precommit)]));
        assert!(!check(Full, &[(0, Precommit), (1, Precommit), (2, Prevote)]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
            if let Some(certificate) = BlockCertificate::from_bytes(&bytes) {
                prop_assert_eq!(certificate.to_bytes(), bytes);
            }
        }

        #[test]
        fn a_certificate_is_decoded(validators in prop::collection::vec(0u8..4, 0..5), cut in 0usize..200) {
            let good = certificate(&validators);
            let bytes = good.to_bytes();
            prop_assert_eq!(BlockCertificate::from_bytes(&bytes), Some(good));
            if cut < bytes.len() {
                prop_assert_eq!(BlockCertificate::from_bytes(&bytes[..cut]), None);
            }
        }
    }
}
