//! A ledger between the owners of boxes.
//!
//! Validators agree on blocks of transactions ([`consensus`]). What a validator saw and signed at the height at hand is
//! in an append log ([`log`]); decided blocks and evidence are in a store ([`store`]). Frames go between nodes over QUIC
//! ([`net`]).

pub mod consensus;
pub mod inbox;
pub mod log;
pub mod net;
mod outbox;
mod run;
mod settings;
mod snapshot;
pub mod store;
mod unit;
mod verbs;

pub use run::{LedgerConfig, LedgerError, run};
pub use settings::LedgerSettings;
pub use unit::{LedgerUnitConfig, main, serve};
