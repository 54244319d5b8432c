//! update: takes a signed update and writes it as a new slot beside the one that runs
//! (docs/updates.md).
//!
//! From bytes to a slot: the head of a bundle is [checked](trust) against the keys of `[trust]`,
//! what it says is [planned](plan) against what is there, and the plan is carried out on a medium
//! (`octet_esp`), chunk by [chunk](assemble), the entry last.

// What is said is one line, whatever another has put into it: `octet_node::say`.
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
