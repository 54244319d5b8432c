//! The network of a box, proved with packets: what netd sets up, what gets in, and that nothing else
//! does. The test is everybody else on the wire.

mod address;
mod by_forward;
pub mod guest;
mod on_board;
mod operator;
mod owner;
mod scan;
mod settings;
