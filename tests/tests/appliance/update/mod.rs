//! Updates of the whole appliance: installed over the control port, booted by firmware, and marked
//! good or left again.

mod bad;
mod base;
mod boot_loader;
mod cut;
mod good;
mod u_boot;
