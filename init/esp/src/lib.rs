//! The EFI system partition: its [contents], what must be removed for a new slot ([`plan`]), the
//! [steps] in which it is written on a [medium], the [`boot_counter`] of a slot (for U-Boot in the
//! [`boot_state`]), the [`random_seed`] beside it, and the repair after a power cut ([`fat`]). [`mounted`] is the partition as the
//! kernel mounts it. On a box `update` writes and PID 1 repairs; the builder does both on a disk that
//! it flashes.

pub mod boot_counter;
pub mod boot_state;
pub mod contents;
pub mod fat;
pub mod medium;
pub mod mounted;
pub mod plan;
pub mod random_seed;
pub mod steps;
