//! Nodes of a ledger in virtual time: a network that loses, doubles, reorders and parts; processes that are killed and
//! machines that lose power at any operation of their disks; validators that lie.
//!
//! `OCTET_SEEDS` sets how many seeds the long tests run.

#![cfg(test)]

mod bounds;
mod disk;
mod evaluator;
mod faults;
mod liar;
mod liars;
mod logged;
mod quiet;
mod torn;
mod world;

/// The seeds of a test.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let count = std::env::var("OCTET_SEEDS").ok().and_then(|count| count.parse().ok());
    0..count.unwrap_or(usual)
}
