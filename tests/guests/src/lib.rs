//! Shared code of the programs in guests and of the tests outside.

pub mod frames;
pub mod processes;
pub mod roll;
pub mod service;
