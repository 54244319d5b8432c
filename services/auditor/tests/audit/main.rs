//! The auditor beside `octet-coins`, with which it shares no code: it accepts the same blocks, calculates the same
//! states, and finds whatever was changed in them, also if all validators have signed it.

#![cfg(test)]

mod chain;
mod corruption;
mod forged;
mod pool;
mod worlds;
mod worlds_pool;
