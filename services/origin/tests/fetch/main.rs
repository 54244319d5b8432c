//! The unit's server over loopback, with upstreams that say what a test wants.

#![cfg(test)]

mod addresses;
mod host;
mod https;
mod refusals;
mod unit_file;
mod upward;
