//! How the parts of an appliance talk to each other and to their operator.
//!
//! A unit listens on a Unix socket and speaks [frames](frame) that carry JSON [messages](message).
//! Its [verbs](verb) describe themselves: `describe` answers with every verb, its arguments, help
//! and the capability it needs, and every command line, gate or page is made from that answer.

#[cfg(feature = "cli")]
pub mod cli;
mod client;
mod connection;
mod frame;
mod message;
#[cfg(feature = "cli")]
mod render;
mod verb;

pub use client::{CallError, Client};
pub use connection::{Connection, Overflow};
pub use frame::{Decoder, FrameError, HEADER, MAX_PAYLOAD, encode};
pub use message::{Failure, FailureCode, Reply, ReplyBody, Request};
pub use octet_appliance::UnitName;
pub use verb::{Arg, ArgKind, Arguments, Capability, Column, ColumnKind, DESCRIBE, Verb};

/// The folder of the units' sockets on an appliance: `/run/octet/<unit>.sock`.
pub const SOCKETS: &str = "/run/octet";

/// The unit name under which PID 1 answers.
pub const INIT: &str = "init";

/// The virtio-serial port that carries the same protocol under QEMU.
pub const PORT: &str = "org.octet.control";
