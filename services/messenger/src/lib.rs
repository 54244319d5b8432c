//! messenger carries letters between people and boxes, who find each other by public key alone: sealed from
//! end to end, and kept in mailboxes for those who are away (`docs/messenger.md`).
//!
//! This is the mailbox, which the service is. A person's half is the crate `octet-messages`; the service uses it, too,
//! for the letters that it writes itself.

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod alerts;
pub mod boards;
mod bot;
mod gate;
mod local;
pub mod mailbox;
pub mod quic;
pub mod rate;
mod service;
mod verbs;

pub use service::{MessengerConfig, main, run};
