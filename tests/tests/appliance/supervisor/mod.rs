//! PID 1 in guests: units with faults, sandboxes from inside, a large graph, its own faults, and
//! shutdowns.

mod down;
mod fault;
mod graph;
mod guest;
mod misfits;
mod sandbox;
mod stubborn;
mod trouble;
