//! DHCP for IPv4 (RFC 2131, RFC 2132): an address from whoever leads out.
//!
//! A parser of our own, because all that is wanted is a fixed head and seven options: the crates for
//! it bring a library of domain names and Unicode's tables for them, fifty crates in all.

pub mod client;
mod lease;
mod message;
pub mod socket;

pub use lease::Lease;
pub use message::{Answer, Ask, Kind, Refused};
