//! What a board needs on its medium besides the image: U-Boot, and on a Raspberry Pi the firmware that starts it.
//!
//! It is put into a copy of the image, so that it is written and read back with the rest. It belongs to the medium and
//! to no slot: an update leaves it as it is.

mod allwinner;
mod error;
mod packages;
mod raspberry_pi;
mod source_build;

use std::fmt;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use miette::IntoDiagnostic;
use octet_esp::random_seed::{RANDOM_SEED_OFFSET, RandomSeed};
use rustix::rand::{GetRandomFlags, getrandom};

pub use self::error::HardwareError;
pub use self::packages::FirmwarePackages;
use self::packages::{SOURCE, UPSTREAM};
use self::source_build::CROSS_COMPILE;

use super::image::{ImageFile, put_on_esp};
use crate::cache;
use crate::digest::FieldHasher;
use crate::output::sparse::Sparse;
use crate::source::DebPackage;
use crate::steps::Steps;
use crate::target::Target;

/// A board whose boot ROM finds no program in an image alone. The names are those of U-Boot's configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hardware {
    /// Orange Pi PC 2 (Allwinner H5); needs --build-u-boot
    #[value(name = "orangepi_pc2")]
    OrangePiPc2,
    /// Orange Pi Prime (Allwinner H5); needs --build-u-boot
    #[value(name = "orangepi_prime")]
    OrangePiPrime,
    /// Orange Pi Zero Plus 2 with an H5
    #[value(name = "orangepi_zero_plus2")]
    OrangePiZeroPlus2,
    /// NanoPi NEO 2 (H5)
    #[value(name = "nanopi_neo2")]
    NanoPiNeo2,
    /// NanoPi NEO Plus 2 (H5)
    #[value(name = "nanopi_neo_plus2")]
    NanoPiNeoPlus2,
    /// Pine A64 and A64+ (Allwinner A64)
    #[value(name = "pine64_plus")]
    Pine64Plus,
    /// Pine A64 LTS (R18)
    #[value(name = "pine64-lts")]
    Pine64Lts,
    /// SOPINE on its baseboard (A64)
    #[value(name = "sopine_baseboard")]
    SopineBaseboard,
    /// Raspberry Pi 3; needs --firmware
    #[value(name = "rpi_3")]
    RaspberryPi3,
    /// Raspberry Pi 4; needs --firmware
    #[value(name = "rpi_4")]
    RaspberryPi4,
}

/// Where a board's ROM looks for its first program, and what that has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BootRom {
    /// Of Allwinner: the SPL of U-Boot, which names its board's device tree.
    Allwinner { tree: &'static str },
    /// Of a Raspberry Pi: the first FAT file system, which has to have these files of its maker's.
    RaspberryPi { files: &'static [&'static str], trees: &'static str },
}

/// The folder in the builder's cache for U-Boot that was built.
pub const BUILT_FOLDER: &str = "u-boot";

/// What `flash --hardware` writes besides the image, in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareFile {
    pub destination: FirmwareDestination,
    pub content: Vec<u8>,
    /// Where it comes from, for people.
    pub origin: String,
}

/// Where on the medium it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirmwareDestination {
    /// At this byte, outside of all partitions.
    Byte(u64),
    /// In this file in the root of the EFI system partition.
    EspFile(String),
}

impl fmt::Display for FirmwareDestination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(at) => write!(formatter, "byte {at}"),
            Self::EspFile(name) => write!(formatter, "/{name}"),
        }
    }
}

/// What the owner has besides the locked packages.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OwnFirmware {
    /// Use this U-Boot instead of Debian's: u-boot-sunxi-with-spl.bin, or u-boot.bin for a Raspberry Pi
    #[arg(long, value_name = "FILE", requires = "hardware")]
    pub u_boot: Option<PathBuf>,
    /// Build U-Boot of Debian's source package instead of taking Debian's
    #[arg(long, requires = "hardware", conflicts_with = "u_boot")]
    pub build_u_boot: bool,
    /// The folder that has the firmware of a Raspberry Pi (bootcode.bin, start.elf, start4.elf and others)
    #[arg(long, value_name = "DIR", requires = "hardware")]
    pub firmware: Option<PathBuf>,
}

/// What is written for a board.
#[derive(Debug)]
pub struct Firmware {
    pub hardware: Hardware,
    pub files: Vec<FirmwareFile>,
}

/// Bytes that a file of a board's firmware may have; the largest has 3 MB.
const MAX_SIZE: u64 = 16 << 20;

impl fmt::Display for Hardware {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

impl Hardware {
    /// Its name on the command line, and that of U-Boot's configuration for it.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn boot_rom(self) -> BootRom {
        let tree = match self {
            Self::OrangePiPc2 => "sun50i-h5-orangepi-pc2",
            Self::OrangePiPrime => "sun50i-h5-orangepi-prime",
            Self::OrangePiZeroPlus2 => "sun50i-h5-orangepi-zero-plus2",
            Self::NanoPiNeo2 => "sun50i-h5-nanopi-neo2",
            Self::NanoPiNeoPlus2 => "sun50i-h5-nanopi-neo-plus2",
            Self::Pine64Plus => "sun50i-a64-pine64-plus",
            Self::Pine64Lts => "sun50i-a64-pine64-lts",
            Self::SopineBaseboard => "sun50i-a64-sopine-baseboard",
            Self::RaspberryPi3 => {
                let files = &["bootcode.bin", "start.elf", "fixup.dat"];
                return BootRom::RaspberryPi { files, trees: "broadcom/bcm2837-rpi-" };
            }
            Self::RaspberryPi4 => {
                let files = &["start4.elf", "fixup4.dat"];
                return BootRom::RaspberryPi { files, trees: "broadcom/bcm2711-rpi-" };
            }
        };
        BootRom::Allwinner { tree }
    }

    /// The locked package that has U-Boot for it; none, if Debian has none.
    fn package(self) -> Option<&'static str> {
        match (self, self.boot_rom()) {
            (Self::OrangePiPc2 | Self::OrangePiPrime, _) => None,
            (_, BootRom::Allwinner { .. }) => Some(SOURCE),
            (_, BootRom::RaspberryPi { .. }) => Some("u-boot-rpi"),
        }
    }

    /// What its image is built for, if `asked` is what was asked for; the default says nothing.
    ///
    /// # Errors
    /// It is another kind of machine.
    pub fn target(self, asked: Target) -> Result<Target, HardwareError> {
        match asked == Target::BoardArm64 || asked == Target::default() {
            true => Ok(Target::BoardArm64),
            false => Err(HardwareError::OtherTarget { hardware: self, target: asked }),
        }
    }

    /// Reads what is `own`, and takes U-Boot out of the package or builds it, if that is asked for. Nothing is read of
    /// the image yet.
    ///
    /// # Errors
    /// Something is missing, or is another board's.
    pub fn firmware(
        self,
        own: &OwnFirmware,
        packages: impl FnOnce() -> miette::Result<FirmwarePackages>,
    ) -> miette::Result<Firmware> {
        let rom = self.boot_rom();
        if let (BootRom::Allwinner { .. }, Some(_)) = (rom, &own.firmware) {
            return Err(HardwareError::NotRaspberryPi { hardware: self }.into());
        }
        // What is missing of the owner's comes before anything is fetched.
        let mut files = match rom {
            BootRom::Allwinner { .. } => vec![],
            BootRom::RaspberryPi { files, .. } => {
                raspberry_pi::firmware(self, files, own.firmware.as_deref())?
            }
        };
        let (u_boot, origin) = match (&own.u_boot, self.package()) {
            (Some(path), _) => (read(self, path)?, path.display().to_string()),
            (None, None) if own.build_u_boot => self.built_u_boot(&mut packages()?)?,
            (None, None) => return Err(HardwareError::NoUBoot(self).into()),
            (None, Some(_)) if own.build_u_boot => return Err(HardwareError::NotBuilt(self).into()),
            (None, Some(name)) => {
                let package = packages()?.package(name)?;
                let origin = format!("{name} {}", package.field("Version"));
                (self.debian_u_boot(&package, &origin)?, origin)
            }
        };
        let other =
            |what| HardwareError::OtherUBoot { origin: origin.clone(), hardware: self, what };
        match rom {
            BootRom::Allwinner { tree } => {
                files.extend(allwinner::firmware(tree, &u_boot, &origin).map_err(other)?);
            }
            BootRom::RaspberryPi { .. } => {
                files.push(raspberry_pi::u_boot(u_boot, &origin).map_err(other)?);
            }
        }
        Ok(Firmware { hardware: self, files })
    }

    /// U-Boot that is built here, and of what.
    fn built_u_boot(self, packages: &mut FirmwarePackages) -> miette::Result<(Vec<u8>, String)> {
        let source = packages.u_boot_source()?;
        let compiler = source_build::compiler_version(CROSS_COMPILE)?;
        let mut key = FieldHasher::default();
        key.field(&compiler).field(packages.lock.source_digests(SOURCE)).field(self.name());
        let name = format!("{self}-{}", key.finish());
        let kept = cache::folder(BUILT_FOLDER).map(|folder| folder.join(name));
        let steps = Steps::new();
        let u_boot = source_build::build(self, &source, CROSS_COMPILE, kept.as_deref(), &steps)?;
        let version = &packages.lock.debian_source(SOURCE, UPSTREAM)?.version;
        Ok((u_boot, format!("u-boot {version}, built by {compiler}")))
    }

    /// U-Boot out of Debian's package, as U-Boot's own build has it in one file.
    fn debian_u_boot(self, package: &DebPackage, origin: &str) -> Result<Vec<u8>, HardwareError> {
        let file = |folder: &str, name: &str| {
            let path = format!("/usr/lib/u-boot/{folder}/{name}");
            package.file(&path).ok_or_else(|| {
                let (origin, what) = (origin.to_owned(), format!("it has no {path}"));
                HardwareError::OtherUBoot { origin, hardware: self, what }
            })
        };
        match self.boot_rom() {
            BootRom::Allwinner { .. } => {
                let spl = file(&self.name(), "sunxi-spl.bin")?;
                Ok(allwinner::join(spl, file(&self.name(), "u-boot-sunxi-with-spl.fit.itb")?))
            }
            // The same one starts both.
            BootRom::RaspberryPi { .. } => Ok(file("rpi_arm64", "u-boot.bin")?.to_vec()),
        }
    }
}

impl Firmware {
    /// Adds what depends on the image, and a random seed, which no other medium has. A Raspberry Pi's firmware hands a
    /// device tree to U-Boot: the kernel's, as the slot has it.
    ///
    /// # Errors
    /// The image is not for boards.
    pub fn complete(&mut self, image: &ImageFile) -> miette::Result<()> {
        let path = || image.path().to_owned();
        if image.layout()?.boot_state.is_none() {
            return Err(HardwareError::NotForBoards { path: path() }.into());
        }
        if let BootRom::RaspberryPi { trees, .. } = self.hardware.boot_rom() {
            let found = raspberry_pi::device_trees(image, trees)?;
            if found.is_empty() {
                let hardware = self.hardware;
                return Err(HardwareError::NoTree { path: path(), hardware }.into());
            }
            self.files.extend(found);
        }
        let mut seed = [0; 32];
        getrandom(&mut seed, GetRandomFlags::empty()).into_diagnostic()?;
        self.files.push(FirmwareFile {
            destination: FirmwareDestination::Byte(RANDOM_SEED_OFFSET),
            content: RandomSeed::new(seed).render().to_vec(),
            origin: "random seed, drawn for this medium".into(),
        });
        Ok(())
    }

    /// Puts it onto `disk`, an image for boards.
    ///
    /// # Errors
    /// There is no room for it; in words.
    pub fn put(&self, disk: &mut Sparse) -> Result<(), String> {
        let mut in_esp = vec![];
        for file in &self.files {
            match &file.destination {
                FirmwareDestination::EspFile(name) => {
                    in_esp.push((name.as_str(), &file.content[..]));
                }
                FirmwareDestination::Byte(at) => disk
                    .seek(SeekFrom::Start(*at))
                    .and_then(|_| disk.write_all(&file.content))
                    .map_err(|error| error.to_string())?,
            }
        }
        put_on_esp(disk, &in_esp)
    }

    /// What is written where, a line for each file.
    pub fn describe(&self) -> String {
        let line = |file: &FirmwareFile| {
            let (at, size, origin) = (&file.destination, file.content.len(), &file.origin);
            format!("  {:30} {size:>8} bytes  {origin}\n", at.to_string())
        };
        self.files.iter().map(line).collect()
    }
}

/// The content of a file of the owner's.
fn read(hardware: Hardware, path: &Path) -> Result<Vec<u8>, HardwareError> {
    let unreadable = |why| HardwareError::Unreadable { path: path.to_owned(), hardware, why };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_SIZE {
        return Err(HardwareError::TooLarge { path: path.to_owned(), hardware, size });
    }
    fs::read(path).map_err(unreadable)
}

#[cfg(test)]
mod tests;
