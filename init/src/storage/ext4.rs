//! Makes, checks and mounts the data partition's file system with the tools of e2fsprogs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, mount};

use super::disk::at;
use super::superblock::{self, FilesystemState};

pub const DATA: &str = "/data";

/// Makes the file system. `verity` seals finished objects; the kernel initialises inode tables
/// later. The partition is discarded first if the medium supports it: it may hold data of a
/// previous owner, who has reset the box.
pub fn format(device: &Path) -> Result<(), String> {
    let options = ["-q", "-F", "-t", "ext4", "-L", "octet-data", "-m", "0", "-O", "verity"];
    let mut command = Command::new("/sbin/mke2fs");
    command.args(options).args(["-E", "lazy_itable_init=1,discard"]).arg(device);
    match run(&mut command)? {
        0 => Ok(()),
        status => Err(format!("mke2fs ended with status {status}")),
    }
}

/// Mounts the file system, and checks it first if it was not unmounted cleanly. Returns what was
/// repaired, in words.
pub fn mount_checked(device: &Path) -> Result<Option<String>, String> {
    let mut done = None;
    match read_state(device)? {
        FilesystemState::Clean => {}
        FilesystemState::ToCheck => done = Some(check(device)?),
        FilesystemState::Missing => done = Some(repair(device)?),
    }
    if let Err(problem) = mount_data(device) {
        // It is marked clean, but cannot be mounted.
        done = Some(repair(device).map_err(|worse| format!("{problem}; {worse}"))?);
        mount_data(device)?;
    }
    Ok(done)
}

pub fn mount_data(device: &Path) -> Result<(), String> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    mount(device, DATA, c"ext4", flags, c"errors=remount-ro")
        .map_err(|error| at(device)(error.into()))
}

/// Writes a file atomically: after a crash it is either complete or absent.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn read_state(device: &Path) -> Result<FilesystemState, String> {
    let mut bytes = [0; superblock::LEN];
    let file = File::open(device).map_err(at(device))?;
    file.read_exact_at(&mut bytes, superblock::OFFSET).map_err(at(device))?;
    Ok(superblock::state(&bytes))
}

/// Flags in the exit status of `e2fsck(8)`.
const CORRECTED: i32 = 1 | 2;
const ERRORS_LEFT: i32 = 4;
const OPERATIONAL_ERROR: i32 = 8;

/// Replays the journal and makes repairs that lose no data.
fn check(device: &Path) -> Result<String, String> {
    match e2fsck(device, &["-p"])? {
        0 => Ok("checked: it was not unmounted".into()),
        status if status & !CORRECTED == 0 => Ok("checked and corrected".into()),
        status if status & !(CORRECTED | ERRORS_LEFT) == 0 => repair(device),
        status => Err(describe_status(status)),
    }
}

/// Makes all possible repairs: nobody is there to be asked, and a box without its data is useless.
/// Losses are in the unit's log.
fn repair(device: &Path) -> Result<String, String> {
    match e2fsck(device, &["-y", "-f"])? {
        status if status & !CORRECTED == 0 => {
            Ok("repaired: files may be missing or in /data/lost+found".into())
        }
        status => Err(describe_status(status)),
    }
}

fn describe_status(status: i32) -> String {
    match status & OPERATIONAL_ERROR {
        0 => format!("e2fsck ended with status {status}: the file system cannot be mended"),
        _ => format!(
            "e2fsck ended with status {status}: the disk cannot be read or written, or there is no \
             file system to be found on it"
        ),
    }
}

fn e2fsck(device: &Path, how: &[&str]) -> Result<i32, String> {
    run(Command::new("/sbin/e2fsck").args(how).arg(device))
}

/// Runs a tool; its output goes to the unit's log.
fn run(command: &mut Command) -> Result<i32, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{program}: {error}"))?;
    status.code().ok_or_else(|| format!("{program} {status}"))
}
