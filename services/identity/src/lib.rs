//! `identity` holds the node's Ed25519 key, and certifies one key of each service. It signs nothing
//! else, and never has another private key.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod record;
pub mod registry;
pub mod service;
mod start;
pub mod store;

pub use octet_node::control::{PublicKey, UnitName};
pub use start::{main, run};
