//! The time, by SNTP (RFC 4330, RFC 5905): asked of others, and told.

pub mod client;
mod packet;
pub mod server;

pub use packet::{NtpPacket, Stamp};
