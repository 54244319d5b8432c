//! router: brings the box's router with OpenWrt to the plan, from the board that holds the map. It does nothing by itself:
//! an owner asks it to, and gives it the password of the router's login first.
//!
//! [`told`] is what the settings in force say, [`password`] what is kept, [`work`] what is done with both; [`verbs`] lists
//! by which words.

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod fault;
mod password;
mod service;
mod told;
mod verbs;
mod work;

pub use service::{RouterServiceConfig, main, run};
