//! The EFI system partition: which slots are [present], what must be removed for a new one
//! ([`plan`]), the [steps] in which it is written on a [medium], and the repair after a power cut
//! ([`fat`]). On a box `update` writes and PID 1 repairs; the builder does both on a disk that it
//! flashes.

pub mod contents;
pub mod fat;
pub mod medium;
pub mod plan;
pub mod steps;
