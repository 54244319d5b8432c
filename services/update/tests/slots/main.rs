//! Updates on a medium in memory: what is taken, what is refused, and what a power cut leaves after
//! any step. What the boot loader would do with it is worked out here anew, not with update's own
//! code.

#![cfg(test)]

mod boot_loader;
mod cuts;
mod flash;
mod refused;
mod release;
mod taken;
mod worlds;
