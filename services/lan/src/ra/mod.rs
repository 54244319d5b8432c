//! Router advertisements (RFC 4861): which network this is, and who leads out of it.

mod message;

pub use message::{
    InvalidAdvertisement, MAX, PrefixInformation, RouteInformation, RouterAdvertisement,
    SOLICITATION, is_solicitation,
};
