//! Updates of the whole appliance: installed over the control port, started by firmware, found good or
//! left again.

mod bad;
mod base;
mod cut;
mod good;
