//! `messenger` transports messages between people and boxes, addressed by public key: end-to-end
//! encrypted, and stored in mailboxes until they are fetched (`docs/messenger.md`).
//!
//! This service is the mailbox server. The client is the crate `octet-messages`, which the service
//! also uses for its own messages.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod alerts;
pub mod boards;
mod bot;
mod gate;
mod local;
pub mod mailbox;
pub mod quic;
mod service;
mod verbs;

pub use service::{MessengerConfig, main, run};
