//! Each rule of the ledger: what it refuses, beside what it accepts.

#![cfg(test)]

mod blocks;
mod claims;
mod encodings;
mod genesis;
mod keys;
mod ledger;
mod locks;
mod pending;
mod pool;
mod pool_gain;
mod size;
mod transfers;
mod validators;
