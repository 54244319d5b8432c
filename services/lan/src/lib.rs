//! What a box says to those who are plugged in, and asks of its uplink: addresses, names, time.

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod advertising;
pub mod daemon;
pub mod dhcp;
pub mod dns;
pub mod icmp;
pub mod leasing;
mod lookup;
pub mod naming;
pub mod netd;
pub mod numbering;
pub mod probe;
pub mod ra;
pub mod reaching;
pub mod registering;
pub mod serve;
mod service;
pub mod time;
pub mod timing;
pub mod udp;

pub use service::main;
