//! Four nodes as processes on loopback: killed one by one and all at once, parted, and with a thief's receipts.
//!
//! With `OCTET_SOAK` they are killed more often, and what commits cost is printed.

#![cfg(test)]

mod node;
mod partition;
mod stolen;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use octet_coins::Block;
use octet_ledger::store::{BlockStore, store_file};

use crate::node::{HANG, Nodes, genesis, number_of};

fn kills() -> u64 {
    if std::env::var_os("OCTET_SOAK").is_some() { 20 } else { 3 }
}

/// The hashes of all blocks of a node, after its process has ended, and how many transactions they have.
fn blocks(nodes: &Nodes, at: usize) -> (Vec<[u8; 32]>, u64) {
    let file = store_file(&nodes.folder(at).join("blocks")).unwrap();
    let (store, state) = BlockStore::open(file, &genesis()).unwrap();
    assert!(store.evidence().unwrap().is_empty(), "all are honest");
    let (mut hashes, mut transactions) = (vec![], BTreeSet::new());
    let mut count = 0;
    for height in 1..=state.height() {
        let (block, _) = store.block(height).unwrap().unwrap();
        let block = Block::from_bytes(&block).unwrap();
        hashes.push(block.hash().0);
        count += block.transactions.len();
        transactions
            .extend(block.transactions.iter().map(octet_coins::SignedTransaction::to_bytes));
    }
    assert_eq!(transactions.len(), count, "one was decided twice");
    (hashes, count as u64)
}

#[test]
fn four_processes_decide_the_same_though_they_are_killed() {
    let mut nodes = Nodes::start();
    let mut expected = 0;
    let all = |nodes: &mut Nodes, expected: &mut u64| {
        *expected += 1;
        nodes.pay(*expected);
        nodes.wait_for(*expected);
    };
    all(&mut nodes, &mut expected);
    for round in 0..kills() {
        let one = round as usize % 4;
        nodes.kill(one);
        // Three go on.
        expected += 1;
        nodes.pay(expected);
        nodes.wait_for(expected);
        nodes.spawn(one);
        all(&mut nodes, &mut expected);
    }
    for _ in 0..kills() {
        // In the middle of a height.
        nodes.pay(expected + 1);
        (0..4).for_each(|at| nodes.kill(at));
        (0..4).for_each(|at| nodes.spawn(at));
        all(&mut nodes, &mut expected);
    }
    (0..4).for_each(|at| nodes.kill(at));
    let first = blocks(&nodes, 0);
    assert_eq!(first.1, expected);
    for at in 1..4 {
        assert_eq!(blocks(&nodes, at), first);
    }
}

/// What commits cost. It needs all of the machine.
#[test]
fn figures() {
    if std::env::var_os("OCTET_SOAK").is_none() {
        return;
    }
    for together in [1, 100] {
        figures_of(together);
    }
}

/// So many transactions are submitted whenever those before are decided.
fn figures_of(together: u64) {
    let mut nodes = Nodes::start();
    nodes.pay(1);
    nodes.wait_for(1);
    let written = |nodes: &Nodes| -> Vec<u64> {
        (0..4).map(|at| number_of(nodes.process(at), "io", "write_bytes:")).collect()
    };
    let (before, began, height) = (written(&nodes), Instant::now(), nodes.height());
    let mut paid = 1;
    while began.elapsed() < Duration::from_secs(15) {
        (0..together).for_each(|more| nodes.pay(paid + 1 + more));
        paid += together;
        nodes.wait_for(paid);
    }
    let (after, blocks, time) = (written(&nodes), nodes.height() - height, began.elapsed());
    let rate = |count: u64| count as f64 / time.as_secs_f64();
    println!("{together} together: {blocks} blocks, {:.1} a second", rate(blocks));
    println!("{:.0} transactions a second", rate(paid - 1));
    for at in 0..4 {
        let process = nodes.process(at);
        println!(
            "node {at}: {} bytes written for a block, {} kB resident, {} kB at most",
            (after[at] - before[at]) / blocks,
            number_of(process, "status", "VmRSS:"),
            number_of(process, "status", "VmHWM:"),
        );
    }
    assert!(HANG > time);
}
