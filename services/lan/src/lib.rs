//! The unit `lan`: DHCP, router advertisements, DNS and NTP, for the segments of the box and on its
//! uplink.

// Logs go through `octet_node::say`, which escapes untrusted text to one line.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod ra_service;
pub mod daemon;
pub mod dhcp;
pub mod dns;
pub mod icmp;
pub mod dhcp_service;
mod lookup;
pub mod dns_service;
pub mod netd;
pub mod board_number;
pub mod probe;
pub mod ra;
pub mod reachability;
pub mod name_registration;
pub mod serve;
mod service;
pub mod time;
pub mod ntp_service;
pub mod udp;

pub use service::main;
