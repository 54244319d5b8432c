//! The EFI system partition: which slots are [there](present), what has to go for a new one
//! ([`plan`]), the [steps] in which it is written on a [medium], and what a power cut leaves of all
//! that ([`fat`]). On a box `update` writes and PID 1 mends; the builder does both on a disk that it
//! flashes.

pub mod fat;
pub mod medium;
pub mod plan;
pub mod present;
pub mod steps;
