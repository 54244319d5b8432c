//! Random worlds: a ledger, honest and lying owners with up to 64 identities, and an evaluator that has the rules a
//! second time and shares no arithmetic with the library.

#![cfg(test)]

mod evaluator;
mod evaluator_pool;
mod evaluator_validators;
mod orders;
mod people;
mod world;

use std::panic::catch_unwind;

use world::{Happened, World};

/// Runs the worlds on two threads, and names those in which something did not hold.
fn run(seeds: std::ops::Range<u64>) {
    let halves = [0, 1].map(|odd| {
        let seeds = seeds.clone().filter(move |seed| seed % 2 == odd);
        std::thread::spawn(move || {
            seeds.map(|seed| (seed, catch_unwind(|| World::new(seed).run()))).collect::<Vec<_>>()
        })
    });
    let results: Vec<_> = halves.into_iter().flat_map(|half| half.join().unwrap()).collect();
    let failed: Vec<_> = results.iter().filter(|it| it.1.is_err()).map(|it| it.0).collect();
    assert!(failed.is_empty(), "OCTET_SEED={failed:?}");
    // The worlds are not empty: all that is to be shown has happened.
    let mut all = Happened::default();
    results.into_iter().filter_map(|it| it.1.ok()).for_each(|it| all.add(&it));
    println!("{all:?}");
    all.check(seeds.end - seeds.start);
}

/// `OCTET_WORLDS=n` runs so many.
#[test]
fn three_hundred_worlds() {
    let count = std::env::var("OCTET_WORLDS").ok().and_then(|count| count.parse().ok());
    run(0..count.unwrap_or(300));
}

/// `OCTET_SEED=n` runs one world, to look at it.
#[test]
fn the_world_that_is_named() {
    if let Some(seed) = std::env::var("OCTET_SEED").ok().and_then(|seed| seed.parse().ok()) {
        World::new(seed).run();
    }
}
