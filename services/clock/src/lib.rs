//! clock sees to it that the time is never before the build of the image, and never before a time
//! that the box has shown already, in this boot or in one before.
//!
//! Boards have no clock that runs while they are off. What is kept is a *reservation*: a time that
//! is later than any the clock has shown, written ahead and renewed before it is reached. So a cut
//! at any moment leaves a time on disk to start from that is not in the past.
//!
//! While it runs, others may say that it is off (the unit `lan`, which asks them):
//! [`discipline`](discipline::Discipline) holds that within bounds.
//!
//! [`decide`](decide::decide) says what time it is at the start, [`keep`] what is to be written and
//! when, and the [loop](mod@run) carries it out on a [`Machine`](run::Machine).

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod bounds;
pub mod decide;
pub mod discipline;
pub mod disk;
pub mod file;
pub mod keep;
pub mod machine;
pub mod record;
pub mod run;
mod serve;
mod service;
mod stepped;
mod sys;

pub use service::main;
