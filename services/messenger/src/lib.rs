//! messenger carries letters between people and boxes, who find each other by public key alone: sealed from
//! end to end, and kept in mailboxes for those who are away (`docs/messenger.md`).
//!
//! One half is the mailbox, which the service is. The other is a person: a state machine without clock, file
//! or socket ([`person`]), where it is kept ([`store`]), and who does what it wants done ([`courier`]).

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod alerts;
pub mod backup;
pub mod boards;
mod bot;
pub mod card;
pub mod courier;
pub mod envelope;
mod gate;
pub mod history;
pub mod invite;
pub mod letter;
pub mod limits;
mod local;
pub mod mailbox;
pub mod person;
pub mod place;
pub mod prekey;
pub mod quic;
pub mod rate;
pub mod record;
pub mod request;
pub mod rows;
pub mod safety;
pub mod sealed;
mod service;
pub mod store;
mod verbs;

pub use service::{Parts, main, run};
