//! The unit `logd`: stores what all units and the kernel log.
//!
//! Bytes are moved from pipes, whose read ends PID 1 holds, too, into a [journal] that outlives
//! this process. They are split into [lines], [limited](limit) per unit, and wait in the [tail],
//! from which the [keeper] writes them to the [store] on disk. The [server](serve) answers clients
//! by means of a [reader](read) of tail and store.

pub mod clock;
mod daemon;
pub mod entry;
mod inputs;
pub mod intake;
pub mod journal;
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
pub mod storage_thread;
pub mod store;
pub mod tail;
pub mod wake;

pub use service::main;
