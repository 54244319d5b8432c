//! PID 1 in guests: units in trouble, sandboxes from inside, order in the large, its own faults,
//! the ways down.

mod down;
mod fault;
mod graph;
mod guest;
mod misfits;
mod sandbox;
mod stubborn;
mod trouble;
