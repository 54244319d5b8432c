//! Why there is no firmware for a board.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;

use super::{Hardware, MAX_SIZE};
use crate::target::Target;

/// The firmware of a board cannot be put together.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum HardwareError {
    #[error("Debian has no U-Boot for {0}")]
    #[diagnostic(help(
        "--build-u-boot builds it of Debian's source, which takes about a minute; or name yours: --u-boot \
         u-boot-sunxi-with-spl.bin"
    ))]
    NoUBoot(Hardware),
    #[error("Debian has U-Boot for {0}: it is not built")]
    #[diagnostic(help("leave --build-u-boot out"))]
    NotBuilt(Hardware),
    #[error("{origin} is not U-Boot for {hardware}: {what}")]
    #[diagnostic(help("with the U-Boot of another board it would not start"))]
    OtherUBoot { origin: String, hardware: Hardware, what: String },
    #[error("{hardware} starts with its maker's firmware, which Debian does not have: {files}")]
    #[diagnostic(help(
        "--firmware names a folder with these files: `boot` of the repository raspberrypi/firmware, or \
         /usr/lib/raspi-firmware of Debian's package raspi-firmware (non-free-firmware)"
    ))]
    NoFirmware { hardware: Hardware, files: String },
    #[error("{hardware} needs no firmware of a Raspberry Pi")]
    #[diagnostic(help("leave --firmware out, or name the board that the flash is for"))]
    NotRaspberryPi { hardware: Hardware },
    #[error("cannot read {}: {why}", path.display())]
    #[diagnostic(help("see that the file is there: {hardware} does not start without it"))]
    Unreadable { path: PathBuf, hardware: Hardware, why: io::Error },
    #[error("{} has {size} bytes, and no firmware has more than {}", path.display(), MAX_SIZE)]
    #[diagnostic(help("name the file of {hardware}"))]
    TooLarge { path: PathBuf, hardware: Hardware, size: u64 },
    #[error("{} is not firmware of a Raspberry Pi: {what}", path.display())]
    #[diagnostic(help("see that it was downloaded whole"))]
    BadFirmware { path: PathBuf, what: &'static str },
    #[error("{hardware} is a board, and {target} is not")]
    #[diagnostic(help("leave --target out: --hardware says it"))]
    OtherTarget { hardware: Hardware, target: Target },
    #[error("{} is an image for other machines: it has no place for U-Boot", path.display())]
    #[diagnostic(help("build one: `cargo image build --target {}`", Target::BoardArm64))]
    NotForBoards { path: PathBuf },
    #[error("the slot of {} has no device tree of {hardware}", path.display())]
    #[diagnostic(help(
        "build the image again: `cargo image build --target {}`",
        Target::BoardArm64
    ))]
    NoTree { path: PathBuf, hardware: Hardware },
}
