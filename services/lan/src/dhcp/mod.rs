//! DHCP for IPv4 (RFC 2131, RFC 2132): an address from whoever leads out, and one for each of those who
//! are plugged in. The encoding is `dhcproto`'s.

pub mod client;
mod lease;
mod message;
pub mod pool;
pub mod questions;
pub mod server;

pub use lease::{Lease, LeaseState};
pub use message::{
    Ask, ClientRequest, Destination, InvalidDhcpMessage, QuestionKind, ReplyType, ServerMessage,
    ServerReply,
};
