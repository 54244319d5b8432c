//! Why an image is not on a medium.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use octet_bundle::SlotName;
use octet_esp::fat;
use octet_esp::plan::NoRoom;

use super::in_use::DiskUser;

/// It is not there, or not all of it.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum FlashError {
    #[error("there is no image {}: {why}", path.display())]
    #[diagnostic(help("`cargo image build` makes one; --image names another file"))]
    NoImage {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it is not there.
        why: io::Error,
    },
    /// Something that is not an image.
    #[error("{} is not an image: {what}", path.display())]
    #[diagnostic(help(
        "--image names a file made by `cargo image build`: octet.img, octet.img.zst"
    ))]
    BadImage { path: PathBuf, what: String },
    /// A device that is not there.
    #[error("there is no device {}", path.display())]
    #[diagnostic(help("`lsblk` lists the disks; under /dev no file is made"))]
    NoDevice { path: PathBuf },
    /// Neither a file nor a disk.
    #[error("{} is {kind}, neither a file nor a disk", path.display())]
    #[diagnostic(help("name a file (it is made if it is not there) or a whole disk"))]
    WrongKind { path: PathBuf, kind: &'static str },
    /// A part of a disk.
    #[error("{} is a partition of {disk}, and an image is a whole disk", path.display())]
    #[diagnostic(help("name the disk, if all that is on it may go: {disk}"))]
    Partition { path: PathBuf, disk: String },
    #[error("{} can only be read", path.display())]
    #[diagnostic(help("a card may have a switch for it; `blockdev --setrw` undoes `--setro`"))]
    ReadOnly { path: PathBuf },
    #[error("{} is in use: {by}", path.display())]
    #[diagnostic(help("{}", by.advice()))]
    InUse { path: PathBuf, by: DiskUser },
    /// In use, and only the kernel knows by whom.
    #[error("{} is in use by another program", path.display())]
    #[diagnostic(help("end what uses it (`fuser`, `lsblk`), then run the same command again"))]
    Busy { path: PathBuf },
    /// A file behind a loop device.
    #[error("{} is the file behind {device}", path.display())]
    #[diagnostic(help("`losetup --detach {device}` first, or name {device} instead of the file"))]
    BehindLoop { path: PathBuf, device: String },
    #[error("{} is the image itself", path.display())]
    #[diagnostic(help("name another file or a disk"))]
    Itself { path: PathBuf },
    #[error("{} is too small: it has {has} bytes, the image {needs}", path.display())]
    #[diagnostic(help("name a larger disk; the image is not cut"))]
    TooSmall {
        path: PathBuf,
        /// Its bytes.
        has: u64,
        /// The image's bytes.
        needs: u64,
    },
    /// Sectors that the partition table is not made for.
    #[error(
        "{} has sectors of {has} bytes, and the image's partition table is for 512", path.display()
    )]
    #[diagnostic(help("no firmware would find its partitions there; name a disk with 512"))]
    OtherSectors {
        path: PathBuf,
        /// Bytes of a sector.
        has: u64,
    },
    #[error("cannot open {}: {why}", path.display())]
    #[diagnostic(help("{}", open_advice(why)))]
    Open { path: PathBuf, why: io::Error },
    /// Another thing stands at the path than a moment ago.
    #[error("{} is not what it was a moment ago", path.display())]
    #[diagnostic(help("see with `lsblk` which disk has this name now, then try again"))]
    Changed { path: PathBuf },
    #[error("{} would be written to, and there is no terminal to ask whether it may", path.display())]
    #[diagnostic(help("--yes says that it may"))]
    NotConfirmed { path: PathBuf },
    #[error("that was not the name of {}: nothing was written", path.display())]
    #[diagnostic(help("to have it written to, type its name; --yes does not ask"))]
    Declined { path: PathBuf },
    /// It went wrong on the way.
    #[error("{}: {fault}", path.display())]
    #[diagnostic(help("{}", fault.advice(*touched)))]
    Failed {
        path: PathBuf,
        /// Whether anything had been written.
        touched: bool,
        fault: FlashFault,
    },
    /// The slot cannot be written alone.
    #[error("{} {why}", path.display())]
    #[diagnostic(help("{}", why.advice()))]
    KeepData { path: PathBuf, why: KeepDataError },
    /// It went wrong while the slot was written.
    #[error("{}: {fault}", path.display())]
    #[diagnostic(help("{}\nwhat started before still starts, or the new slot does", fault.remedy()))]
    Unfinished { path: PathBuf, fault: FlashFault },
}

fn open_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "devices belong to root: run it with `sudo`",
        io::ErrorKind::NotFound => "see that its folder is there",
        _ => "see that it is there and can be written",
    }
}

/// Why `--keep-data` leaves a disk as it is.
#[derive(Debug, thiserror::Error)]
pub enum KeepDataError {
    /// There is nothing to keep.
    #[error("is no disk of Octet's with a slot: {0}")]
    NoOctet(&'static str),
    #[error("has its partitions elsewhere than the image")]
    Layout,
    /// Its files cannot be trusted.
    #[error("has an EFI system partition that is damaged: {0}")]
    Damaged(fat::FatProblem),
    #[error("has an EFI system partition that cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is for another kind of machine.
    #[error("is for {this}, and the image is for {image}")]
    OtherTarget {
        /// What the disk is for.
        this: String,
        /// What the image is for.
        image: String,
    },
    /// The slots could not use each other's data.
    #[error("has data that cannot be used by both its slot {0} and the image")]
    Data(SlotName),
    #[error(
        "has no room: the slot needs {} bytes on the EFI system partition, and {} are free",
        .0.needed, .0.free
    )]
    NoRoom(NoRoom),
    #[error("stays as it is: the slot of the image cannot be read: {0}")]
    Image(String),
}

impl From<NoRoom> for KeepDataError {
    fn from(no_room: NoRoom) -> Self {
        Self::NoRoom(no_room)
    }
}

impl KeepDataError {
    fn advice(&self) -> &'static str {
        match self {
            Self::NoOctet(_) | Self::Layout => {
                "flash it without --keep-data: then all that is on it is lost"
            }
            Self::Damaged(_) => {
                "`fsck.vfat -a` on its first partition mends what can be mended; or flash it \
                 without --keep-data: then all that is on it is lost"
            }
            Self::Unreadable(_) => {
                "see that it is still plugged in, then run the same command again"
            }
            Self::OtherTarget { .. } => "build the image with --target for this kind of machine",
            Self::Data(_) => "go over in two steps: first to a version that reads both formats",
            Self::NoRoom(_) => {
                "leave packages or modules out of appliance.toml, or remove what is not Octet's \
                 from its first partition"
            }
            Self::Image(_) => "`cargo image build` makes an image that has a slot",
        }
    }
}

/// What went wrong on the way.
#[derive(Debug, thiserror::Error)]
pub enum FlashFault {
    #[error("the image cannot be read at byte {at}: {why}")]
    Image { at: u64, why: io::Error },
    #[error("cannot be read at byte {at}: {why}")]
    Read { at: u64, why: io::Error },
    #[error("cannot be written at byte {at}: {why}")]
    Write { at: u64, why: io::Error },
    /// What it took did not get onto the medium.
    #[error("what was written did not all reach the medium: {0}")]
    Sync(io::Error),
    /// It cannot have the image's length.
    #[error("cannot be given the image's length: {0}")]
    Grow(io::Error),
    /// It gives back something else.
    #[error("was written, but byte {at} reads back as {theirs:#04x} instead of {ours:#04x}")]
    Mismatch { at: u64, ours: u8, theirs: u8 },
    /// It has less than it says.
    #[error(
        "says that it has {} MiB, but what is written behind its first ones is lost: it is a counterfeit with between {} \
         and {} MiB", says >> 20, has >> 20, lost.div_ceil(1 << 20)
    )]
    Counterfeit {
        /// The bytes that it says it has.
        says: u64,
        has: u64,
        lost: u64,
    },
    #[error("has become smaller meanwhile: it had {before} bytes and has {now}")]
    Shrunk {
        /// Its bytes at the beginning.
        before: u64,
        /// Its bytes now.
        now: u64,
    },
    #[error("its EFI system partition cannot be changed: {0}")]
    Esp(io::Error),
    #[error("stopped before it was done")]
    Stopped,
}

impl FlashFault {
    /// What to do about it.
    fn advice(&self, touched: bool) -> String {
        let state = match touched {
            true => "what is on it now is incomplete and does not start",
            false => "nothing was written to it",
        };
        format!("{}\n{state}", self.remedy())
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Image { .. } => "build the image again, or see to the disk that it is on",
            Self::Write { why, .. } if why.kind() == io::ErrorKind::StorageFull => {
                "free space where it is, then run the same command again"
            }
            Self::Grow(_) => "free space where it is, or name another file system",
            Self::Stopped => "run the same command again: it goes on where it is not done",
            Self::Counterfeit { .. } => "take another one: data of the box would be lost on it",
            Self::Mismatch { .. } => "the medium does not keep what it is given: take another one",
            _ => {
                "see that it is still plugged in, then run the same command again, or take another"
            }
        }
    }

    /// Where it went wrong; what concerns the whole comes last.
    pub fn at(&self) -> u64 {
        match self {
            Self::Image { at, .. }
            | Self::Read { at, .. }
            | Self::Write { at, .. }
            | Self::Mismatch { at, .. } => *at,
            _ => u64::MAX,
        }
    }
}

/// What a [`Fault`] becomes on its way through the files of an EFI system partition, taken back.
impl From<io::Error> for FlashFault {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Esp)
    }
}
