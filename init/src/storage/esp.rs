//! PID 1's access to the EFI system partition.

use std::io;
use std::time::Duration;

use octet_esp::fat::{self, Check};
use octet_esp::mounted::{Access, MountedEsp};

use super::disk::{Disk, device};
use crate::command_line;

/// How often, and at which interval, a mount is tried while another unit has the partition mounted
/// with other options.
const ATTEMPTS: u32 = 250;
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Mounts the partition of `disk`.
pub fn mount(disk: &Disk, access: Access) -> Result<MountedEsp, String> {
    let boot_state = disk.boot_state(command_line::boot_counter()?)?;
    MountedEsp::unmount_leftovers();
    let mut attempts = 0;
    loop {
        match MountedEsp::mount(&device(&disk.esp), boot_state.as_deref(), access) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && attempts < ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(RETRY_DELAY);
            }
            mounted => return mounted.map_err(|error| error.to_string()),
        }
    }
}

/// Repairs what a power cut has left on the partition `name`. Returns what was done, in words.
pub fn repair(name: &str, check: Check) -> Result<Option<String>, String> {
    MountedEsp::unmount_leftovers();
    fat::repair(&device(name), check)
}
