//! A copy of a ledger in which something was changed, and blocks that too few have signed.

use octet_auditor::{Audit, Difference, Mismatch};
use octet_coins::{Action, Block};
use octet_node::key::PrivateKey;

use crate::chain::{Chain, HEIGHTS, certificate, genesis_file, owner, validator};

/// A chain with all actions, and with what ends by itself.
fn chain() -> Chain {
    let mut chain = Chain::with_lock(5000);
    let transfer = Action::Transfer { to: owner(9).public(), amount: 700 };
    let votes = (0..3).map(|by| chain.vote_for(by, 4, &validator(9))).collect::<Vec<_>>();
    chain.run([&[chain.order(4, transfer), chain.claim(1000)], &votes[..]].concat());
    assert_eq!(chain.state.validators().len(), 5);
    let rotation = chain.order(0, chain.rotation(0, &validator(10)));
    chain.run(vec![chain.order(4, Chain::withdrawal()), rotation]);
    let revoke = Action::RevokeKey { key: Chain::payee().public() };
    chain.follow(&chain.block(2, vec![chain.order(5, revoke)]));
    chain.pass(5);
    chain
}

/// The audit before each block, with the block and its votes.
fn steps(chain: &Chain) -> Vec<(Audit, Vec<u8>, Vec<u8>)> {
    let mut audit = Chain::small().audit;
    let mut steps = vec![];
    for (block, votes) in &chain.blocks {
        steps.push((audit.clone(), block.clone(), votes.clone()));
        audit.block(block, votes).unwrap();
    }
    assert_eq!(audit.summary(), chain.audit.summary());
    steps
}

fn found(audit: &Audit, block: &[u8], votes: &[u8]) -> Option<Mismatch> {
    let before = audit.clone();
    let mut audit = audit.clone();
    let difference = audit.block(block, votes).err()?;
    assert_eq!(difference.height, before.summary().height + 1);
    assert_eq!(audit.summary(), before.summary());
    assert!(!difference.help().is_empty());
    Some(difference.what)
}

#[test]
fn every_flipped_bit_is_found() {
    let mut bits = 0;
    for (mut audit, block, votes) in steps(&chain()) {
        let mut changed = block.clone();
        for bit in 0..block.len() * 8 {
            changed[bit / 8] ^= 1 << (bit % 8);
            let difference = audit.block(&changed, &votes).unwrap_err();
            assert!(!difference.is_signed(), "{difference}");
            changed[bit / 8] ^= 1 << (bit % 8);
        }
        let mut changed = votes.clone();
        // A bit of each byte: signatures are verified each time.
        for byte in 0..votes.len() {
            changed[byte] ^= 1 << (byte % 8);
            assert!(!audit.block(&block, &changed).unwrap_err().is_signed());
            changed[byte] ^= 1 << (byte % 8);
        }
        for length in 0..block.len() {
            assert!(audit.block(&block[..length], &votes).is_err());
        }
        for length in 0..votes.len() {
            assert!(audit.block(&block, &votes[..length]).is_err());
        }
        assert!(audit.block(&[&block[..], &[0]].concat(), &votes).is_err());
        assert!(audit.block(&block, &[&votes[..], &[0]].concat()).is_err());
        audit.block(&block, &votes).unwrap();
        bits += block.len() * 8;
    }
    assert!(bits > 10_000);
}

#[test]
fn transactions_are_those_that_were_voted_for() {
    let steps = steps(&chain());
    let (audit, bytes, votes) = &steps[2];
    let block = Block::from_bytes(bytes).unwrap();
    let mut removed = block.clone();
    removed.transactions.remove(1);
    let mut repeated = block.clone();
    repeated.transactions.push(block.transactions[1]);
    let mut swapped = block.clone();
    swapped.transactions.swap(0, 1);
    for other in [removed, repeated, swapped] {
        assert_eq!(found(audit, &other.to_bytes(), votes), Some(Mismatch::OtherBlock));
    }
    assert_eq!(found(audit, bytes, votes), None);
}

#[test]
fn blocks_are_in_their_order() {
    let steps = steps(&chain());
    let (audit, block, votes) = &steps[3];
    for (number, other) in [(2, &steps[1]), (3, &steps[2]), (5, &steps[4])] {
        assert_eq!(found(audit, &other.1, &other.2), Some(Mismatch::Height(number)));
    }
    assert_eq!(found(audit, block, &steps[2].2), Some(Mismatch::OtherBlock));
    assert_eq!(found(audit, block, votes), None);
}

/// All validators have signed two blocks of a height: the one that is not below the next one does not lead to it.
#[test]
fn a_fork_is_found() {
    let mut chain = Chain::with_lock(5000);
    let other = chain.block(0, vec![chain.claim(10)]);
    let mut forked = chain.audit.clone();
    forked.block(&other.to_bytes(), &chain.votes(&other)).unwrap();
    chain.run(vec![]);
    let next = chain.block(0, vec![]);
    let difference = forked.block(&next.to_bytes(), &chain.votes(&next)).unwrap_err();
    assert_eq!(difference, Difference { height: 4, transaction: None, what: Mismatch::Parent });
    assert!(difference.is_signed());
    assert_eq!(chain.opinion(&next), Ok(()));
}

#[test]
fn more_than_two_thirds_have_voted() {
    let mut chain = Chain::small();
    let rotation = chain.rotation(0, &validator(10));
    let block = chain.block(0, vec![]);
    let judge = |chain: &Chain, block: &Block, signers: &[&PrivateKey]| {
        found(&chain.audit, &block.to_bytes(), &chain.votes_of(block, signers))
    };
    let [a, b, c, d] = [0, 1, 2, 3].map(validator);
    let (former, new, stranger) = (validator(0), validator(10), validator(20));
    assert_eq!(judge(&chain, &block, &[&a, &b, &c, &d]), None);
    assert_eq!(judge(&chain, &block, &[&d, &b, &c]), None);
    let few = |votes| Some(Mismatch::TooFewVotes { votes, validators: 4 });
    assert_eq!(judge(&chain, &block, &[&a, &b]), few(2));
    assert_eq!(judge(&chain, &block, &[]), few(0));
    let twice = Some(Mismatch::VoteTwice(b.public()));
    assert_eq!(judge(&chain, &block, &[&a, &b, &b]), twice);
    assert_eq!(judge(&chain, &block, &[&a, &b, &c, &b]), twice);
    let unknown = Some(Mismatch::Stranger(stranger.public()));
    assert_eq!(judge(&chain, &block, &[&a, &b, &c, &stranger]), unknown);
    // From the next height on, the new key votes, and the former one does not.
    chain.act(0, rotation);
    let block = chain.block(0, vec![]);
    let gone = Some(Mismatch::Stranger(former.public()));
    assert_eq!(judge(&chain, &block, &[&former, &b, &c, &d]), gone);
    assert_eq!(judge(&chain, &block, &[&new, &b, &c]), None);
}

#[test]
fn two_thirds_are_not_more() {
    for (validators, least) in [(4, 3), (5, 4), (6, 5), (7, 5), (9, 7), (64, 43)] {
        let chain = Chain::new(&genesis_file("valley", validators, &[5; 2], HEIGHTS));
        let block = chain.block(0, vec![]);
        let all: Vec<_> = (0..validators).map(validator).collect();
        let all: Vec<_> = all.iter().collect();
        let judge = |count: usize| {
            found(&chain.audit, &block.to_bytes(), &chain.votes_of(&block, &all[..count]))
        };
        assert_eq!(judge(least - 1), Some(Mismatch::TooFewVotes { votes: least - 1, validators }));
        assert_eq!(judge(least), None);
    }
}

#[test]
fn votes_are_for_one_block_height_round_and_ledger() {
    let chain = Chain::small();
    let block = chain.block(3, vec![]);
    let all: Vec<_> = (0..4).map(validator).collect();
    let all: Vec<_> = all.iter().collect();
    let judge = |votes: &[u8]| found(&chain.audit, &block.to_bytes(), votes);
    let hash = block.hash().0;
    let of = |height, round, hash| certificate(&chain.genesis, (height, round, hash), &all);
    assert_eq!(judge(&of(1, 3, hash)), None);
    assert_eq!(judge(&of(1, 4, hash)), None);
    let early = Some(Mismatch::EarlyVotes { votes: 2, block: 3 });
    assert_eq!(judge(&of(1, 2, hash)), early);
    assert_eq!(judge(&of(2, 3, hash)), Some(Mismatch::OtherBlock));
    assert_eq!(judge(&of(1, 3, [1; 32])), Some(Mismatch::OtherBlock));
    let forged = Some(Mismatch::ForgedVote(all[0].public()));
    // The same votes, said to be of another round.
    let mut other_round = of(1, 3, hash);
    other_round[11] = 4;
    assert_eq!(judge(&other_round), forged);
    // A block of the same validators' other ledger.
    let hill = Chain::new(&genesis_file("hill", 4, &[1_000_000; 6], HEIGHTS));
    let theirs = hill.block(3, vec![]);
    let votes = hill.votes(&theirs);
    assert_eq!(found(&hill.audit, &theirs.to_bytes(), &votes), None);
    let found = found(&chain.audit, &theirs.to_bytes(), &votes);
    assert!(matches!(found, Some(Mismatch::ForgedVote(_))), "{found:?}");
}

#[test]
fn a_genesis_file_is_checked() {
    let good = genesis_file("valley", 4, &[5; 2], HEIGHTS);
    assert!(Audit::new(&good).is_ok());
    let key = owner(1).public().to_string();
    for bad in [
        genesis_file("valley", 3, &[5; 2], HEIGHTS),
        genesis_file("Valley", 4, &[5; 2], HEIGHTS),
        genesis_file("", 4, &[5; 2], HEIGHTS),
        genesis_file("valley", 4, &[1 << 62, 1], HEIGHTS),
        good.replace(&key, &owner(0).public().to_string()),
        good.replace(&validator(1).public().to_string(), &validator(0).public().to_string()),
        good.replace("balance = 5", "balance = 0"),
        good.replace("fee = 100", "fee = 0"),
        good.replace("heights_per_day = 20", "heights_per_day = 100000001"),
        good.replace("fee = 100", "fees = 100"),
        good.replace("did:key:z6Mk", "did:key:z6Mm"),
    ] {
        assert!(octet_coins::Genesis::from_toml(&bad).is_err(), "{bad}");
        let error = Audit::new(&bad).unwrap_err();
        assert!(!error.to_string().is_empty() && error.help().contains("genesis"));
    }
    assert!(Audit::new(&genesis_file("valley", 4, &[(1 << 62) - 1, 1], HEIGHTS)).is_ok());
}

/// What is not written has the same default.
#[test]
fn defaults_of_a_genesis_are_the_same() {
    let full = genesis_file("valley", 4, &[5; 2], HEIGHTS);
    let at = full.find("[[validator]]").unwrap();
    for numbers in ["", "spacing_seconds = 3600\n", "spacing_seconds = 7\nheights_per_day = 5\n"] {
        Chain::new(&format!("name = \"hill\"\n{numbers}{}", &full[at..]));
    }
}
