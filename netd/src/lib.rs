//! netd: everything inbound is denied before any link is up, but for the gate; then links, addresses
//! and routes are as `[network]` of `appliance.toml` says.
//!
//! What is decided is pure: [`rules`] makes the text for nft, [`plan`] compares what is wanted with
//! what the kernel has, [`lease`] and [`plugged`] hold what the unit `lan` reports against the plan. What
//! touches the machine is small: [`kernel`] behind the trait [`backend::Backend`], [`serve`], and [`daemon`] around
//! them. [`network`] says in which order all of it is done.

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod advert;
pub mod backend;
pub mod changes;
pub mod conntrack;
pub mod daemon;
pub mod fault;
pub mod generation;
pub mod host;
pub mod kernel;
pub mod lease;
pub mod links;
pub mod manager;
pub mod network;
pub mod nfnetlink;
pub mod observed;
pub mod on_board;
pub mod pace;
pub mod paths;
pub mod plan;
pub mod plugged;
pub mod probe;
pub mod router;
pub mod rules;
pub mod serve;
mod service;
pub mod told;
pub mod watch;

pub use service::main;
