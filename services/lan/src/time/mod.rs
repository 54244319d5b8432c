//! The time by SNTP (RFC 4330, RFC 5905): a client and a server.

pub mod client;
mod packet;
pub mod server;

pub use packet::{NtpPacket, Stamp};
