//! logd keeps what every unit and the kernel say.
//!
//! Bytes come from pipes whose read ends PID 1 holds too, and are moved into a [journal] that
//! outlives this process. They become [lines], are [limited](limit) by unit, and wait in the
//! [tail], from where the [keeper] takes them to the [store] on disk. Whoever asks is answered by
//! the [server](serve), which has a [reader](read) look in tail and store.

pub mod clock;
mod daemon;
pub mod entry;
mod inputs;
pub mod intake;
pub mod journal;
pub mod keeper;
pub mod kmsg;
pub mod limit;
pub mod lines;
pub mod poll;
pub mod rates;
pub mod read;
pub mod serve;
mod service;
pub mod settings;
mod start;
pub mod stats;
pub mod store;
pub mod tail;
pub mod wake;

pub use service::main;
