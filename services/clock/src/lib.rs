//! clock ensures that the time is never before the build of the image, and never before a time that
//! the box has shown already, in this boot or an earlier one.
//!
//! Boards have no clock that runs while they are off. The stored time is a *reservation*: a time
//! that is later than any time shown so far, written in advance and renewed before it is reached.
//! Therefore a power cut at any moment leaves a start time on disk that is not in the past.
//!
//! While it runs, other units may report offsets of the clock (the unit `lan`, which queries time
//! servers): [`discipline`](discipline::Discipline) bounds the corrections.
//!
//! [`decide`](decide::decide) chooses the initial time, [`keep`] decides when to write which
//! reservation, and the [loop](mod@run) carries it out on a [`ClockMachine`](run::ClockMachine).

// Log messages go through `octet_node::say`, which writes each as one line, whatever it contains.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod bounds;
pub mod decide;
pub mod discipline;
pub mod disk;
pub mod file;
pub mod machine;
pub mod record;
pub mod reservation;
pub mod run;
mod serve;
mod service;
mod stepped;
mod sys;

pub use service::main;
