//! Messages between people and boxes, addressed by public key: end-to-end encrypted, and stored in
//! mailboxes until they are fetched (`docs/messenger.md`).
//!
//! This is the client: a pure state machine ([`person`]), its storage ([`store`]), the executor of
//! its actions ([`courier`]), also as messages arrive ([`follow`]), and the transport to mailboxes
//! ([`quic`]). The mailbox server is the unit `messenger`.

#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod backup;
pub mod card;
pub mod courier;
pub mod envelope;
pub mod follow;
pub mod history;
pub mod invite;
pub mod letter;
pub mod limits;
pub mod mailbox_address;
pub mod person;
pub mod prekey;
pub mod quic;
pub mod record;
pub mod request;
pub mod rows;
pub mod safety;
pub mod sealed;
pub mod store;
