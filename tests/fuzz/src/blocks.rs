//! Transactions and blocks of a ledger, and what they do to its coins.

mod signed;

use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use octet_coins::{
    Action, Block, Genesis, InvalidBlock, LedgerParameters, LedgerState, MAX_VALIDATORS,
    MIN_VALIDATORS, PendingTransactions, PoolParameters, Possession, SignedTransaction,
    Transaction, Validator, VotedChange,
};
use octet_node::bytes::Fields;
use octet_receipts::Receipt;

use crate::memory::decode;
use signed::{public, sign, stand_in, unsigned};

/// The keys of owners, of which the first four have a validator.
const OWNERS: Range<u8> = 0..6;
/// The keys of validators, of which two are of none at first.
const VALIDATORS: Range<u8> = 6..12;
/// The keys of units `accounts`: two for each owner, of which the first is bound at first.
const SUB_KEYS: Range<u8> = 12..24;
/// The keys of nodes, which sign nothing here.
const NODES: Range<u8> = 24..26;

/// With this price, a byte costs a millionth.
const A_BYTE: u64 = 1 << 30;

/// Bytes are refused, or are the canonical encoding of a transaction or a block. Any block is refused, or keeps the sum
/// of all coins. What the pool has taken makes a valid block.
pub fn blocks(bytes: &[u8]) {
    if let Some(signed) = decode(bytes, SignedTransaction::from_bytes) {
        assert_eq!(signed.to_bytes(), bytes);
    }
    let begun = begun();
    if let Some(block) = decode(bytes, Block::from_bytes) {
        assert_eq!(block.to_bytes(), bytes);
        let next = next(begun, block.round, block.transactions.clone());
        for block in [block, next] {
            let _ = begun.check(&block).map(|next| conserves(&next));
        }
    }
    ledger(begun.clone(), bytes);
}

/// The input is blocks, each with a round, a number of transactions, and the transactions after their sizes (2 bytes).
/// All that known keys say in them is signed again, because mutations would never meet a signature.
fn ledger(mut state: LedgerState, bytes: &[u8]) {
    let mut fields = Fields(bytes);
    while let (Some(round), Some(count)) = (fields.u8(), fields.u8()) {
        let mut transactions = vec![];
        let mut pool = PendingTransactions::default();
        for _ in 0..count {
            let Some(size) = fields.u16() else { break };
            let Some(signed) = fields.take(size.into()).and_then(SignedTransaction::from_bytes)
            else {
                continue;
            };
            let signed = sign(*signed.transaction(), &state, &transactions);
            let _ = pool.admit(signed, &state);
            transactions.push(signed);
        }
        let of_pool = pool.block(&state, round.into());
        let after_pool = state.check_with(&of_pool, &pool).expect("what the pool has is valid");
        conserves(&after_pool);
        assert_eq!(state.check(&of_pool).as_ref(), Ok(&after_pool));
        // In the order of the input, up to the first that is refused.
        let mut block = next(&state, round.into(), transactions);
        let after = state.check(&block).or_else(|why| {
            let InvalidBlock::Transaction(number, _) = why else { panic!("{why}") };
            block.transactions.truncate(number);
            state.check(&block)
        });
        let after = after.expect("what is before the refused transaction is valid");
        conserves(&after);
        let is_longer = of_pool.transactions.len() > block.transactions.len();
        state = if is_longer { after_pool } else { after };
    }
}

fn conserves(state: &LedgerState) {
    assert_eq!(state.total(), genesis().sum());
    assert!((MIN_VALIDATORS..=MAX_VALIDATORS).contains(&state.validators().len()));
    let rows = state.rows();
    let again = LedgerState::from_rows(genesis(), state.height(), state.tip(), rows);
    let again = again.expect("the rows of a state are a state");
    assert_eq!((&again, again.validators()), (state, state.validators()));
}

fn next(state: &LedgerState, round: u32, transactions: Vec<SignedTransaction>) -> Block {
    let (height, parent, state) = (state.height() + 1, state.tip(), state.hash());
    Block { height, parent, state, round, transactions }
}

fn genesis() -> &'static Genesis {
    static GENESIS: OnceLock<Genesis> = OnceLock::new();
    GENESIS.get_or_init(|| {
        let validators = OWNERS.zip(VALIDATORS).take(MIN_VALIDATORS);
        let validators = validators
            .map(|(owner, of)| Validator { owner: public(owner), key: public(of) })
            .collect();
        let balances = OWNERS.map(|owner| (public(owner), 100_000)).collect();
        let parameters = LedgerParameters {
            heights_per_day: 4,
            withdrawal_heights: 3,
            claim_heights: 3,
            vote_heights: 3,
            settlement_heights: 2,
            pool: Some(PoolParameters::with_per_period(1000)),
            ..LedgerParameters::with_spacing(Duration::from_secs(1))
        };
        Genesis::new("fuzz", validators, balances, parameters).expect("a genesis")
    })
}

/// A ledger with keys, locks, a claim, a withdrawal, a closed key and a vote.
fn begun() -> &'static LedgerState {
    static BEGUN: OnceLock<LedgerState> = OnceLock::new();
    BEGUN.get_or_init(|| {
        let mut state = LedgerState::new(genesis());
        let mut block = |actions: Vec<(u8, Action)>| {
            let mut transactions: Vec<SignedTransaction> = vec![];
            for (signer, action) in actions {
                let transaction = Transaction { signer: stand_in(signer), nonce: 0, action };
                let signed = sign(transaction, &state, &transactions);
                transactions.push(signed);
            }
            state = state.check(&next(&state, 0, transactions)).expect("a block");
        };
        let first = |owner: u8| SUB_KEYS.start + 2 * owner;
        let bind = |owner: u8| {
            let (node, key) = (stand_in(NODES.start), stand_in(first(owner)));
            let (consent, max_per_day) = (Possession([0; 64]), 10_000);
            (owner, Action::BindKey { node, key, epoch: 1, max_per_day, consent })
        };
        block(OWNERS.map(bind).collect());
        let pair = |owner: u8| (stand_in(first(owner)), stand_in(first((owner + 1) % OWNERS.end)));
        let lock = |owner: u8| {
            let (payer, payee) = pair(owner);
            (owner, Action::Lock { payer, payee, amount: 5_000 })
        };
        block(OWNERS.map(lock).collect());
        let (payer, payee) = pair(0);
        let receipt = Receipt {
            payer,
            payee,
            scope: [0; 32],
            epoch: 1,
            bytes: 1_000,
            price: A_BYTE,
            amount: 1_000,
        };
        let receipt = unsigned(receipt);
        let (owner, key) = (stand_in(5), stand_in(VALIDATORS.end - 1));
        let change = VotedChange::Add { owner, key, epoch: 1 };
        block(vec![
            (first(1), Action::Claim { receipt }),
            (1, Action::Withdraw { payer: pair(1).0, payee: pair(1).1 }),
            (2, Action::RevokeKey { key: stand_in(first(2)) }),
            (3, Action::Vote { change, consent: Some(Possession([0; 64])) }),
        ]);
        state
    })
}
