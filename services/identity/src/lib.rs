//! identity: the node's key (ed25519), and what it certifies: one key of each service. It signs
//! nothing else, and sees no other private key.

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod book;
mod record;
pub mod service;
mod start;
pub mod store;

pub use octet_node::control::{PublicKey, UnitName};
pub use start::{main, run};
