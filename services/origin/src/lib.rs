//! `origin` fetches from web origins for the unit `cache` (docs/origin.md). It has no state and no key.
//!
//! [`server`] takes the requests of the cache, [`forward`] decides what goes up and what comes back, [`connect`]
//! resolves, checks and connects, and [`address`] is the table of addresses that are not reached.

pub mod address;
pub mod connect;
mod failure;
mod forward;
pub mod server;
mod settings;
mod tls;
mod unit;

pub use failure::{FetchError, UNVERIFIED_END};
pub use settings::{FetchOrigin, FetchOrigins, FetchSettingsError};
pub use unit::main;
