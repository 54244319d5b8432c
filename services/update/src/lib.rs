//! `update` installs a signed update as a new slot beside the running one (docs/updates.md).
//!
//! The head of a bundle is [verified](trust) with the keys of `[trust]`, the changes to the
//! existing slots are [planned](plan), and the plan is carried out on a medium (`octet_esp`), chunk
//! by [chunk](assemble), with the boot entry last.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod assemble;
pub mod esp;
pub mod floor;
pub mod install;
pub mod licenses;
pub mod patch;
pub mod plan;
pub mod refusal;
pub mod rollback;
pub mod running;
pub mod serve;
mod service;
pub mod source;
pub mod trust;

pub use service::main;
