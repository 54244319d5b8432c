//! Ioctls of block devices: loop devices and partitions.
#![expect(unsafe_code, reason = "no crate wraps these ioctls")]

use std::ffi::{c_int, c_void};
use std::fs::{File, OpenOptions};
use std::io;

use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl};

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` of linux/loop.h.
const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_config` of linux/loop.h with its `struct loop_info64` spread out as far as it is
/// used: `lo_flags` stands 52 bytes into the 232 of the latter.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info_before_flags: [u32; 13],
    flags: u32,
    info_after_flags: [u32; 44],
    reserved: [u64; 8],
}

struct GetFree;

// SAFETY: LOOP_CTL_GET_FREE takes no argument, touches no memory of ours and returns the number
// of a free device.
unsafe impl Ioctl for GetFree {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        u32::try_from(out).map_err(|_| rustix::io::Errno::INVAL)
    }
}

/// Makes `image` a read-only block device and returns its path. The device disappears with its last
/// user: the returned file must stay open until the device is mounted.
pub fn loop_device(image: &File) -> io::Result<(String, File)> {
    use std::os::fd::AsRawFd;

    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    // SAFETY: see `GetFree`.
    let number = unsafe { ioctl(&control, GetFree) }?;
    let path = format!("/dev/loop{number}");
    let device = File::open(&path)?;
    let config = LoopConfig {
        fd: u32::try_from(image.as_raw_fd()).map_err(io::Error::other)?,
        block_size: 0,
        info_before_flags: [0; 13],
        flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        info_after_flags: [0; 44],
        reserved: [0; 8],
    };
    // SAFETY: the kernel reads one `struct loop_config`, which `LoopConfig` has the layout of (its
    // size is asserted below), and writes nothing.
    unsafe { ioctl(&device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) }?;
    Ok((path, device))
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

/// `BLKPG` and its operations, of linux/blkpg.h.
const BLKPG: Opcode = 0x1269;
const BLKPG_RESIZE_PARTITION: c_int = 3;

/// `struct blkpg_partition` of linux/blkpg.h: numbers in bytes, names unused.
#[repr(C)]
pub struct PartitionChange {
    start: i64,
    length: i64,
    number: c_int,
    names: [u8; 128],
}

impl PartitionChange {
    /// Partition `number`, which starts at sector `first`, gets `sectors` sectors of 512 bytes.
    pub fn resize(number: i32, first: u64, sectors: u64) -> Self {
        let bytes = |sectors: u64| i64::try_from(sectors.saturating_mul(512)).unwrap_or(i64::MAX);
        Self { start: bytes(first), length: bytes(sectors), number, names: [0; 128] }
    }
}

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
struct PartitionRequest {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *const PartitionChange,
}

/// `BLKRRPART` of linux/fs.h.
const BLKRRPART: Opcode = 0x125F;

/// Makes the kernel read the partition table of `disk` again. It refuses while a partition is in
/// use.
pub fn read_partitions(disk: &File) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument and touches no memory of ours.
    unsafe { ioctl(disk, NoArg::<BLKRRPART>::new()) }?;
    Ok(())
}

/// Sets a partition's size in the kernel, even while it is in use.
pub fn change_partition(disk: &File, change: PartitionChange) -> io::Result<()> {
    let request = PartitionRequest {
        operation: BLKPG_RESIZE_PARTITION,
        flags: 0,
        length: size_of::<PartitionChange>() as c_int,
        data: &raw const change,
    };
    // SAFETY: the kernel reads one `struct blkpg_ioctl_arg` and the one `struct blkpg_partition`
    // that it points to, which lives until the call returns; it writes nothing.
    unsafe { ioctl(disk, Setter::<BLKPG, PartitionRequest>::new(request)) }?;
    Ok(())
}
