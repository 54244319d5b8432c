//! What the programs inside the guests share with the tests outside.

pub mod frames;
