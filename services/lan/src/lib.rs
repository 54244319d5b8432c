//! The unit `lan`: DHCP, router advertisements, DNS and NTP, for the segments of the box and on its
//! uplink.

// Logs go through `octet_node::say`, which escapes untrusted text to one line.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod board_number;
pub mod daemon;
pub mod dhcp;
pub mod dhcp_service;
pub mod dns;
pub mod dns_service;
pub mod icmp;
mod lookup;
pub mod name_registration;
pub mod netd;
pub mod ntp_service;
pub mod probe;
pub mod ra;
pub mod ra_service;
pub mod reachability;
pub mod serve;
mod service;
pub mod time;
pub mod udp;

pub use service::main;
