//! `forward` carries packets over source-routed label-switched paths. The kernels of the relays switch the
//! labels; a relay learns its previous and next hop only (`docs/forwarding.md`).

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod announcement;
pub mod capacity;
pub mod constraints;
pub mod control;
mod daemon;
mod desired;
pub mod engine;
pub mod exchange;
pub mod graph;
pub mod introduction;
pub mod kernel;
pub mod label;
mod metrics;
pub mod mtu;
pub mod neighbour;
pub mod neighbour_sections;
pub mod number_pool;
pub mod onion;
pub mod plain;
pub mod private_source;
pub mod probe;
pub mod records;
pub mod routes;
mod service;
pub mod settings;
mod stamped;
mod state_folder;
mod status;
pub mod topology;
pub mod trace;
pub mod traffic;
mod verbs;

pub use service::main;
