//! Shared code of the tests of the whole appliance: the released image, programs for guests, and
//! independent tools.

mod boot_loader;
mod clone;
mod disk;
pub mod doc_test;
mod image;
mod initrd;
mod owner;
mod parallel;
mod path;
mod programs;
mod remake;
mod router_root;
mod seed;
mod shared;
mod terminal;
mod tool;
mod update;
mod wrapping;

pub use boot_loader::Counting;
pub use clone::{cache_without_programs, clone_to};
pub use disk::{DiskFile, USED, part};
pub use image::{AARCH64, BOARD, Image, shipped, shipped_for, text_of_one_board, workspace};
pub use owner::Owner;
pub use parallel::in_parallel;
pub use path::link_programs;
pub use programs::{builder, fault_build, fault_netd, guest, guest_for, octet_msg, octetctl};
pub use remake::Remake;
pub use router_root::{double_root, router_initrd};
pub use seed::{apk, cache};
pub use shared::{one_at_a_time, shared};
pub use terminal::{InTerminal, in_terminal};
pub use tool::{Output, must, run};
pub use update::{Bytes, Release, SigningKey};
pub use wrapping::WrappingDisk;

use std::time::Duration;

/// The timeout from the start of QEMU until ready: far more than necessary, for busy hosts.
pub const READY: Duration = Duration::from_secs(180);

/// The timeout of any later action of a guest on such a host.
pub const SOON: Duration = Duration::from_secs(180);

/// The interval of polling a guest: polling without a pause would take the CPU time that the guest
/// needs.
pub const RETRY_DELAY: Duration = Duration::from_millis(200);

/// The random seed, which is printed: `OCTET_SEED`; without it a constant, or with `--soak` a
/// random one.
pub fn seed() -> u64 {
    let given = std::env::var("OCTET_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| if soak() { fastrand::u64(..) } else { 1 });
    println!("by chance; the same again with OCTET_SEED={seed}");
    seed
}

/// Whether the long variants run (`cargo image test --soak`).
pub fn soak() -> bool {
    std::env::var_os("OCTET_SOAK").is_some()
}
