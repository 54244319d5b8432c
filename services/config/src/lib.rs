//! config manages the settings in force: those of the image, or a copy that an operator has
//! uploaded since. The units that read a change validate it. It is applied on trial, and undone
//! automatically unless an operator confirms it, so that a mistake cannot lock operators out
//! permanently.
//!
//! A [copy](copy) is a file whose [name](name) has its state; the [configuration at the
//! start](start) follows from the names alone. The [keeper] orders the steps of a change so that a
//! power cut at any moment leaves the old or the new configuration. The [authorization](permit)
//! depends on the signer.

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod copy;
pub mod difference;
pub mod keeper;
pub mod name;
pub mod paths;
pub mod permit;
pub mod readers;
mod serve;
mod service;
pub mod settings;
pub mod signed_call;
pub mod start;
pub mod store;

pub use service::{main, run};
