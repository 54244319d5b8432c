//! forward carries packets over paths that their source alone has chosen: label-switched by the kernels of
//! the nodes between, which learn the hop before and the hop after, and nothing else (`docs/forwarding.md`).

// What is said is one line, whatever another has put into it: `octet_node::say`.
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
pub mod lines;
mod memory;
mod metrics;
pub mod mtu;
pub mod neighbour;
pub mod onion;
pub mod places;
pub mod plain;
pub mod probe;
pub mod records;
pub mod routes;
mod service;
pub mod settings;
mod stamped;
mod status;
pub mod topology;
pub mod trace;
mod verbs;

pub use service::main;
