//! The whole appliance: every test here boots guests of what ships.
//!
//! `cargo image test` gives each of them a process of its own, and starts those that take longest first.

#![cfg(test)]

mod board;
mod cache;
mod cluster;
mod net;
mod segments;
mod supervisor;
mod update;
