//! What the tests of the whole appliance share: the image that ships, programs for guests, tools
//! that are not ours.

mod builder;
mod disk;
mod guests;
mod image;
mod initrd;
mod owner;
mod parallel;
mod path;
mod remake;
mod terminal;
mod tool;
mod update;

pub use builder::{builder, octetctl};
pub use disk::{DiskFile, part};
pub use guests::{fault_build, fault_netd, guest, guest_for};
pub use image::{AARCH64, Image, shipped, shipped_for, text_of_one_board, workspace};
pub use owner::Owner;
pub use parallel::in_parallel;
pub use path::link_programs;
pub use remake::Remake;
pub use terminal::in_terminal;
pub use tool::{Output, must, run};
pub use update::{Bytes, Release, SigningKey};

use std::time::Duration;

/// From QEMU's start until ready: far more than is needed, for hosts that are busy.
pub const READY: Duration = Duration::from_secs(180);

/// For anything that a guest does after that, on such a host.
pub const SOON: Duration = Duration::from_secs(180);

/// Whether the long variants are to run (`cargo image test --soak`).
pub fn soak() -> bool {
    std::env::var_os("OCTET_SOAK").is_some()
}
