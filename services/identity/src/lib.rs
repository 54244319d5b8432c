//! identity: the node's key (ed25519), and what it certifies: one key of each service. It signs
//! nothing else, and sees no other private key.

pub mod book;
mod record;
pub mod service;
mod start;
pub mod store;

pub use octet_node::control::{PublicKey, UnitName};
pub use start::main;
