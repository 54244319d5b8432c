//! The front of `[[origin]]`: this node as a cache of ordinary web origins (docs/origin.md).
//!
//! [`serve`] answers a request: [`target`] makes the key, [`stored`] decides what may be used, [`flight`] asks the unit
//! `origin` once for all that wait, and [`answer`] makes the client's answer.

mod answer;
mod boards;
mod coming;
mod cookies;
mod flight;
mod front;
mod purge;
mod rows;
mod serve;
mod stored;
mod target;
mod upstream;

pub use boards::{ALPN, OriginBoards};
pub use coming::{BodyProgress, ComingResponse};
pub use flight::FlightState;
pub use front::{CachedOrigin, OriginFront};
pub use purge::Purged;
pub use stored::{CacheUse, ResponseHead, StaleDefaults, StoredResponse};
pub use upstream::UpstreamFailure;
