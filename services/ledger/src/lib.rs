//! A ledger between the owners of boxes.
//!
//! Validators agree on blocks of transactions ([`consensus`]). What a validator saw and signed at the height at hand is
//! in an append log ([`log`]); decided blocks and evidence are in a store ([`store`]).

pub mod consensus;
pub mod log;
pub mod store;
