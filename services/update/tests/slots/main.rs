//! Updates on a medium in memory: accepted ones, refused ones, and the state after a power failure
//! at any step. The boot loader's decision is computed by the tests, independently of update's
//! code.

#![cfg(test)]

mod boot_loader;
mod boot_state;
mod cuts;
mod flash;
mod refused;
mod release;
mod taken;
mod u_boot;
mod worlds;
