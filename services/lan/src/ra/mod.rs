//! Router advertisements (RFC 4861): they announce a link's prefixes and its default router.

mod message;

pub use message::{
    InvalidAdvertisement, MAX, PrefixInformation, RouteInformation, RouterAdvertisement,
    SOLICITATION, is_solicitation,
};
