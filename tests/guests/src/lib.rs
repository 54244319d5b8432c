//! What the programs inside the guests share with each other and with the tests outside.

pub mod frames;
pub mod processes;
pub mod roll;
pub mod service;
