//! The unit `lan`: DHCP, router advertisements, DNS and NTP, for the segments of the box and on its
//! uplink.

// Logs go through `octet_node::say`, which escapes untrusted text to one line.
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
