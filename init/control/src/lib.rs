//! The protocol between the parts of an appliance and their operator.
//!
//! A unit listens on a Unix socket for [frames](frame) with JSON [messages](message). Its
//! [verbs](verb) describe themselves: `describe` answers with every verb, its arguments, its help
//! and the capability it needs, and every command line, gate or page is generated from that answer.

#[cfg(feature = "cli")]
pub mod cli;
mod client;
#[cfg(feature = "cli")]
mod complete;
mod connection;
mod dispatch;
pub mod file;
mod frame;
mod line;
mod logs;
mod message;
mod millionths;
pub mod notify;
mod print;
#[cfg(feature = "cli")]
pub mod render;
pub mod settings;
mod verb;

pub use client::{CallError, Client};
#[cfg(feature = "cli")]
pub use complete::complete;
pub use connection::{Connection, Overflow};
pub use dispatch::{connect_failure, no_answer};
pub use frame::{Decoder, FrameError, HEADER, MAX_PAYLOAD, encode};
pub use line::{escape_lines, one_line};
pub use logs::{LOGS, logs_verb};
pub use message::{
    By, ClientMessage, Failure, FailureCode, FilePiece, PieceBody, Reply, ReplyBody, Request,
};
pub use millionths::{parse_millionths, show_millionths};
pub use octet_appliance::is_control_or_format;
pub use octet_appliance::operator::{self, Permission};
pub use octet_appliance::{CLUSTER, CONFIG, INIT, LOGGER, PublicKey, SETTINGS, SOCKETS, UnitName};
pub use print::print;
pub use verb::{Arg, ArgKind, Arguments, Column, ColumnKind, DESCRIBE, Signed, Verb};

/// The wildcard among the verbs that a unit may call: the unit authenticates operators, and calls
/// on their behalf.
pub const ANY_VERB: &str = "*";

/// The verb of PID 1 that reports the state of all units.
pub const STATUS: &str = "status";

/// The flag of verbs that draw their answer.
pub const PLOT: &str = "plot";

/// The verb of PID 1 that lists the units with a control socket, and their purpose.
pub const UNITS: &str = "units";

/// The virtio-serial port that carries the same protocol under QEMU.
pub const PORT: &str = "org.octet.control";
