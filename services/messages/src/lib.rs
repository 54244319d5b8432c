//! Messages between people and boxes, who find each other by public key alone: sealed from end to end, and kept in
//! mailboxes for those who are away (`docs/messenger.md`).
//!
//! This is a person's half: a state machine without clock, file or socket ([`person`]), where it is kept ([`store`]),
//! who carries out what it wants done ([`courier`]), and the client of mailboxes ([`quic`]). The mailbox is the unit
//! `messenger`.

#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod backup;
pub mod card;
pub mod courier;
pub mod envelope;
pub mod history;
pub mod invite;
pub mod letter;
pub mod limits;
pub mod person;
pub mod place;
pub mod prekey;
pub mod quic;
pub mod record;
pub mod request;
pub mod rows;
pub mod safety;
pub mod sealed;
pub mod store;
