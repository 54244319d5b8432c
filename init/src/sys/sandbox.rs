//! Restrictions that a process applies to itself before it executes a unit's program.
#![expect(unsafe_code, reason = "no crate wraps mount_setattr and seccomp")]

use std::ffi::{CStr, c_long};
use std::io;

use rustix::thread::UnshareFlags;

/// From linux/mount.h and linux/fcntl.h.
const MOUNT_ATTR_RDONLY: u64 = 1;
const AT_RECURSIVE: c_long = 0x8000;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Makes the mount at `path` and those under it read-only, or, with `false`, the one at `path`
/// writable again.
pub fn set_read_only(path: &CStr, read_only: bool) -> io::Result<()> {
    let (set, clear, flags) =
        if read_only { (MOUNT_ATTR_RDONLY, 0, AT_RECURSIVE) } else { (0, MOUNT_ATTR_RDONLY, 0) };
    let attributes = MountAttributes { set, clear, ..MountAttributes::default() };
    // SAFETY: the kernel reads one path and one `struct mount_attr`, which outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            c_long::from(libc::AT_FDCWD),
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the namespaces that it shares with PID 1.
pub fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    assert!(!namespaces.contains(UnshareFlags::FILES));
    // SAFETY: only a table of descriptors of its own could take something away from another thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(namespaces) }?)
}

/// Adds a seccomp filter (seccomp(2)): classic BPF, instructions of eight bytes each.
pub fn add_system_call_filter(program: &[u8]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if filter.len() * 8 != program.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    let mode = c_long::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel copies the `len` instructions that `filter` points to, checks them, and
    // keeps nothing of ours.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, mode, c_long::from(0), &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
