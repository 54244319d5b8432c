//! netd: denies all inbound traffic, except to the gate, before any link is up; then it sets links,
//! addresses and routes as `[network]` of `appliance.toml` says.
//!
//! Decisions are pure: [`rules`] renders the text for nft, [`plan`] compares the desired state with
//! the kernel's state, [`lease`] and [`plugged`] check the reports of the unit `lan` against the
//! plan. Little code touches the machine: [`kernel`] behind the trait [`backend::Backend`],
//! [`serve`], and [`daemon`] around them. [`network`] defines the order of the steps.

// Each log message is one line, whatever it quotes; therefore only `octet_node::say` may print.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod advert;
pub mod backend;
pub mod changes;
pub mod config;
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
pub mod port_bindings;
pub mod probe;
pub mod router;
pub mod rules;
pub mod serve;
mod service;
pub mod watch;

pub use service::main;
