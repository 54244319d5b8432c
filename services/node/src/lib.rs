//! The runtime of every service: readiness, descriptors and callers from PID 1, keys, settings, and the server
//! of verbs.

// Log messages go through `say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

#[cfg(feature = "address")]
pub mod address;
pub mod boot;
#[cfg(feature = "key")]
pub mod bytes;
mod callers;
#[cfg(feature = "key")]
pub mod certificate;
#[cfg(feature = "key")]
pub mod command;
#[cfg(feature = "key")]
pub mod digest;
pub mod durable;
pub mod follow;
#[cfg(feature = "frames")]
pub mod frames;
#[cfg(feature = "key")]
pub mod hello;
pub mod host;
mod inherited;
mod init;
mod kept_client;
#[cfg(feature = "key")]
pub mod key;
pub mod limits;
pub mod links;
#[cfg(feature = "key")]
pub mod map;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod names;
mod peer;
#[cfg(feature = "quic")]
pub mod quic;
#[cfg(feature = "quic-client")]
pub mod quic_client;
mod readiness;
#[cfg(feature = "key")]
pub mod record;
pub mod repairing;
mod run;
pub mod say;
pub mod serve;
pub mod settings;
#[cfg(feature = "key")]
pub mod signed;
#[cfg(feature = "key")]
pub mod statement;
#[cfg(feature = "key")]
pub mod sub_key;
mod sys;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "key")]
pub mod words;

pub use callers::{Callers, PID_1, peer_uid, unit_of};
pub use inherited::inherited;
pub use init::{own_number, watch_status};
pub use kept_client::KeptClient;
pub use octet_control as control;
pub use peer::Peer;
pub use readiness::notify_ready;
pub use run::{UnitEnvironment, run};
pub use settings::{SettingsError, section};
