//! Random worlds: two or three boxes in a line with real books and signatures, a model of links, disks and the
//! kernel's counters, crashes, lies; and an evaluator that shares no arithmetic with the library.

#![cfg(test)]

mod boxes;
mod evaluator;
mod wire;
mod world;

use std::panic::catch_unwind;

use world::World;

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
    // The worlds are not empty.
    let paid: Vec<u64> = results.into_iter().filter_map(|it| it.1.ok()).collect();
    let empty = paid.iter().filter(|paid| **paid < 1 << 20).count();
    assert!(empty * 10 < paid.len(), "{empty} of {} are empty", paid.len());
}

#[test]
fn three_hundred_worlds() {
    run(0..300);
}

/// `OCTET_WORLDS=n` runs so many.
#[test]
#[ignore = "long: ten thousand worlds"]
fn ten_thousand_worlds() {
    let count = std::env::var("OCTET_WORLDS").ok().and_then(|count| count.parse().ok());
    run(1000..1000 + count.unwrap_or(10_000));
}

/// `OCTET_SEED=n` runs one world, to look at it.
#[test]
fn the_world_that_is_named() {
    if let Some(seed) = std::env::var("OCTET_SEED").ok().and_then(|seed| seed.parse().ok()) {
        World::new(seed).run();
    }
}
