//! `router` configures a router with OpenWrt according to the plan, from the coordinator. It acts
//! only when an owner requests it, who has stored the router's password first.
//!
//! [`config`] reads the active settings, [`password`] stores the login, [`work`] applies the plan,
//! and [`verbs`] are the operators' interface.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod config;
mod fault;
mod password;
mod service;
mod verbs;
mod work;

pub use service::{RouterServiceConfig, main, run};
