//! Updates of the whole appliance: installed over the control port, started by firmware, found good or
//! left again.

#![cfg(test)]

mod bad;
mod base;
mod cut;
mod good;
