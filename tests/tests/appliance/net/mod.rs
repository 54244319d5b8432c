//! The network of a box, tested with packets: its configuration, and which packets are accepted.
//! The test simulates all other hosts on the link.

mod address;
mod by_forward;
pub mod guest;
mod on_board;
mod operator;
mod owner;
mod scan;
mod settings;
