//! Encodings of transactions and blocks.

use octet_coins::{
    Action, Block, BlockHash, LedgerState, MAX_TRANSACTION, Possession, SignedTransaction,
    Transaction, VotedChange,
};
use octet_node::control::PublicKey;
use octet_receipts::SignedReceipt;
use proptest::prelude::*;

use crate::ledger::{Ledger, owner};

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey::new)
}

fn consent() -> impl Strategy<Value = Possession> {
    prop::collection::vec(any::<u8>(), 64).prop_map(|it| Possession(it.try_into().unwrap()))
}

fn change() -> impl Strategy<Value = VotedChange> {
    (0..5, key(), key(), any::<u64>()).prop_map(|(kind, owner, key, epoch)| match kind {
        0 => VotedChange::Add { owner, key, epoch },
        1 => VotedChange::Remove { owner },
        2 => VotedChange::Replace { owner, key, epoch },
        3 => VotedChange::AddMember { owner, node: key },
        _ => VotedChange::RemoveMember { owner, node: key },
    })
}

fn action() -> impl Strategy<Value = Action> {
    let receipt = prop::collection::vec(any::<u8>(), SignedReceipt::BYTES).prop_map(|mut bytes| {
        bytes[0] = 1;
        SignedReceipt::from_bytes(&bytes).unwrap()
    });
    prop_oneof![
        (key(), any::<u64>()).prop_map(|(to, amount)| Action::Transfer { to, amount }),
        (key(), key(), any::<u64>(), any::<u64>(), consent()).prop_map(
            |(node, key, epoch, max_per_day, consent)| Action::BindKey {
                node,
                key,
                epoch,
                max_per_day,
                consent
            }
        ),
        key().prop_map(|key| Action::RevokeKey { key }),
        (key(), key(), any::<u64>()).prop_map(|(payer, payee, amount)| Action::Lock {
            payer,
            payee,
            amount
        }),
        (key(), key()).prop_map(|(payer, payee)| Action::Withdraw { payer, payee }),
        receipt.prop_map(|receipt| Action::Claim { receipt }),
        (change(), consent()).prop_map(|(change, consent)| {
            let has_key = matches!(change, VotedChange::Add { .. } | VotedChange::Replace { .. });
            let consent = has_key.then_some(consent);
            Action::Vote { change, consent }
        }),
        (key(), any::<u64>(), consent())
            .prop_map(|(key, epoch, consent)| Action::RotateValidator { key, epoch, consent }),
    ]
}

fn signed() -> impl Strategy<Value = SignedTransaction> {
    (key(), any::<u64>(), action()).prop_map(|(signer, nonce, action)| {
        let transaction = Transaction { signer, nonce, action };
        SignedTransaction::sign(transaction, &BlockHash([0; 32]), &owner(0))
    })
}

proptest! {
    #[test]
    fn a_transaction_has_one_encoding(signed in signed(), at: prop::sample::Index, bit in 0u32..8) {
        let bytes = signed.to_bytes();
        prop_assert!(bytes.len() <= MAX_TRANSACTION);
        prop_assert_eq!(SignedTransaction::from_bytes(&bytes), Some(signed));
        prop_assert_eq!(SignedTransaction::from_bytes(&bytes[..bytes.len() - 1]), None);
        prop_assert_eq!(SignedTransaction::from_bytes(&[&bytes[..], &[0]].concat()), None);
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= 1u8 << bit;
        if let Some(read) = SignedTransaction::from_bytes(&changed) {
            prop_assert_ne!(read, signed);
            prop_assert_eq!(read.to_bytes(), changed);
        }
    }

    #[test]
    fn any_bytes_are_decoded_once(mut bytes in prop::collection::vec(any::<u8>(), 0..320), kind in 0u8..10) {
        for fixed in [false, true] {
            if fixed && bytes.len() > 42 {
                bytes[0] = 1;
                bytes[41] = kind;
                if kind == 6 {
                    bytes[42] = 1;
                    bytes.resize(MAX_TRANSACTION, 3);
                }
            }
            if let Some(read) = SignedTransaction::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), &bytes[..]);
                prop_assert!(read.verify(&BlockHash([0; 32])).is_err());
            }
        }
    }

    #[test]
    fn a_block_has_one_encoding(
        transactions in prop::collection::vec(signed(), 0..5),
        (height, parent, state, round) in any::<(u64, [u8; 32], [u8; 32], u32)>(),
        at: prop::sample::Index,
        bit in 0u32..8,
    ) {
        let block = Block { height, parent: BlockHash(parent), state, round, transactions };
        let bytes = block.to_bytes();
        prop_assert_eq!(Block::from_bytes(&bytes), Some(block.clone()));
        prop_assert_eq!(Block::from_bytes(&bytes[..bytes.len() - 1]), None);
        prop_assert_eq!(Block::from_bytes(&[&bytes[..], &[0]].concat()), None);
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= 1u8 << bit;
        if let Some(read) = Block::from_bytes(&changed) {
            prop_assert_ne!(read.hash(), block.hash());
            prop_assert_eq!(read.to_bytes(), changed);
        }
    }

    /// Whatever is signed by whomever: a state refuses it or keeps its coins.
    #[test]
    fn nothing_panics(signed in signed(), action in action()) {
        let ledger = Ledger::with_lock(1000);
        let signed_well = ledger.signed(4, action);
        for signed in [signed, signed_well] {
            if let Ok(next) = ledger.state.check(&ledger.next(vec![signed])) {
                prop_assert_eq!(next.total(), ledger.genesis.sum());
            }
        }
    }

    #[test]
    fn any_rows_are_refused_or_kept(
        rows in prop::collection::vec((
            (0u8..14, prop::collection::vec(any::<u8>(), 0..97)),
            prop::collection::vec(any::<u8>(), 0..120),
        ), 0..4),
    ) {
        let ledger = Ledger::with_pool(crate::pool::WHOLE);
        let mut all: std::collections::BTreeMap<_, _> = ledger.state.rows().collect();
        for ((kind, rest), value) in rows {
            all.insert([&[kind][..], &rest].concat(), value);
        }
        let state = LedgerState::from_rows(&ledger.genesis, 5, BlockHash([0; 32]), all.clone());
        if let Some(state) = state {
            prop_assert_eq!(state.rows().collect::<Vec<_>>(), all.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_genesis_file_panics(text in "\\PC{0,80}", key in "(name|fee|validator|account) = [0-9\"\\[{]{0,9}") {
        let _ = octet_coins::Genesis::from_toml(&text);
        let _ = octet_coins::Genesis::from_toml(&key);
    }
}

/// A count that promises more than there is costs nothing.
#[test]
fn a_decoder_believes_no_count() {
    let mut bytes = Ledger::new().next(vec![]).to_bytes();
    assert_eq!(bytes.len(), 80);
    assert!(Block::from_bytes(&bytes).is_some());
    bytes[76..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Block::from_bytes(&bytes), None);
    bytes[76..].copy_from_slice(&1024u32.to_be_bytes());
    assert_eq!(Block::from_bytes(&bytes), None);
}
