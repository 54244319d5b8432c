//! How long a state of ten thousand rows takes. Printed, not asserted.

use std::time::{Duration, Instant};

use octet_coins::{Genesis, LedgerState, PendingTransactions, Transaction};
use octet_node::key::PrivateKey;

use crate::ledger::{BALANCE, Ledger, genesis_with, lock, transfer};

fn timed<T>(what: &str, run: impl Fn() -> T) -> T {
    let mut times = vec![];
    for _ in 0..9 {
        let begin = Instant::now();
        std::hint::black_box(run());
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let median: Duration = times[4];
    println!("{what}: {median:?}");
    run()
}

/// `cargo test --release -p octet-coins ten_thousand -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn ten_thousand_rows() {
    let base = genesis_with(4);
    let mut balances = base.balances().clone();
    for number in 0..10_000u32 {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        balances.insert(PrivateKey::from_seed(seed).unwrap().public(), BALANCE);
    }
    let validators = base.validators().to_vec();
    let genesis = Genesis::new("wide", validators, balances, *base.parameters()).unwrap();
    let mut ledger = timed("state of a genesis", || Ledger::of(genesis.clone()));
    ledger.bind(4, 1);
    ledger.bind(5, 1);
    ledger.act(4, lock(100_000)).unwrap();
    let rows: Vec<_> = ledger.state.rows().collect();
    let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    println!("{} rows, {bytes} bytes", rows.len());
    let (height, tip) = (ledger.state.height(), ledger.state.tip());
    timed("from rows", || LedgerState::from_rows(&genesis, height, tip, rows.clone()).unwrap());
    timed("clone", || ledger.state.clone());
    let state = &ledger.state;
    timed("an empty block", || state.check(&ledger.next(vec![])).unwrap());
    let one = ledger.signed(4, transfer(5, 1));
    timed("a transfer's signature", || one.verify(&ledger.hash()).unwrap());
    let claim = ledger.claim_transaction(ledger.receipt(200));
    timed("a claim's two signatures", || claim.verify(&ledger.hash()).unwrap());
    let claims = (1..=870).map(|it| ledger.claim_transaction(ledger.receipt(it * 100)));
    let block = ledger.next(claims.collect());
    timed("a block of 870 claims", || state.check(&block).unwrap());
    // Those of 55 keys would wait in a pool; here they are of one, so the state's part alone is timed.
    timed("870 claims in the pool, 16 kept", || {
        let mut pool = PendingTransactions::default();
        for claim in &block.transactions {
            let _ = pool.admit(*claim, state);
        }
        pool
    });
    println!("{} bytes a transaction in memory", size_of::<Transaction>());
}
