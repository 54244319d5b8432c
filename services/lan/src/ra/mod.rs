//! Router advertisements (RFC 4861): which network this is, and who leads out of it.

mod message;

pub use message::{Advert, MOST, Prefix, Refused, Route, SOLICITATION, is_solicitation};
