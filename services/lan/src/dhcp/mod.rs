//! DHCP for IPv4 (RFC 2131, RFC 2132): a client on the uplink, and a server on the segments.
//! `dhcproto` does the encoding.

pub mod client;
mod lease;
mod message;
pub mod pool;
pub mod request_limit;
pub mod server;

pub use lease::{Lease, LeaseState};
pub use message::{
    ClientMessageType, ClientRequest, Destination, InvalidDhcpMessage, ReplyType, RequestType,
    ServerMessage, ServerReply,
};
