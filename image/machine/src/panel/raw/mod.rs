//! Frames byte by byte, also such as no honest host sends: what a test attacks a guest with.
//!
//! A layer is a function or a value that takes what lies above it as bytes and returns itself as
//! bytes, with correct checksums. `ethernet::ip(macs, &Ipv4::new(..).packet(&transport::tcp(..)))`
//! is a whole frame, to be sent by [`Port::send`](super::Port::send). Wrong is only what the caller
//! says: a sender, a flag, an order.

pub mod arp;
mod checksum;
pub mod dhcp;
pub mod ethernet;
pub mod icmp;
mod ipv4;
mod ipv6;
pub mod mld;
pub mod nd;
pub mod transport;

pub use ipv4::{Ipv4, source_route};
pub use ipv6::{Extension, Ipv6, ROUTER_ALERT};

use std::net::IpAddr;

/// An IP packet of either version, without options or further headers.
///
/// # Panics
/// The two ends are of different versions.
pub fn packet(ends: (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> Vec<u8> {
    match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Ipv4::new(source, destination, protocol).packet(payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Ipv6::new(source, destination).packet(protocol, payload)
        }
        (source, destination) => panic!("{source} and {destination} are of two versions"),
    }
}
