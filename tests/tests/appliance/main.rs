//! Tests of the whole appliance: all of them boot guests with the released image.
//!
//! `cargo image test` gives each of them a process of its own, and starts the slowest ones first.

#![cfg(test)]

mod board;
mod cache;
mod cluster;
mod net;
mod segments;
mod supervisor;
mod update;
