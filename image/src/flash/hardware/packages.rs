//! Debian's packages and sources for boards, out of the store.

use std::path::PathBuf;

use super::source_build::UBootSource;
use crate::appliance_file::Mistake;
use crate::build::fetch::ensure_package;
use crate::lock::{Input, Lock};
use crate::source::{DebPackage, deb_package};
use crate::steps::Steps;
use crate::store::InputStore;
use crate::target::Target;

/// The locked packages of U-Boot, which are fetched if they are not in the store.
pub struct FirmwarePackages {
    pub lock: Lock,
    /// The lock's file: a package that is no longer offered is succeeded there.
    pub lock_file: PathBuf,
    pub store: InputStore,
    /// Whether no successor is taken.
    pub locked: bool,
}

impl FirmwarePackages {
    /// The file of an input that `find` finds.
    pub fn file(
        &mut self,
        find: impl Fn(&Lock) -> Result<&Input, Mistake>,
    ) -> miette::Result<PathBuf> {
        let steps = Steps::new();
        let input = find(&self.lock)?.clone();
        let lock = (&mut self.lock, self.lock_file.as_path());
        ensure_package(lock, &input, &self.store, self.locked, &steps)?;
        // A successor may have taken its place.
        Ok(self.store.verified(&self.lock, find(&self.lock)?, &steps)?)
    }

    pub fn package(&mut self, name: &str) -> miette::Result<DebPackage> {
        let file = self.file(|lock| lock.firmware(name))?;
        Ok(deb_package(Target::BoardArm64, self.lock.firmware(name)?, &file)?.1)
    }

    pub fn u_boot_source(&mut self) -> miette::Result<UBootSource> {
        Ok(UBootSource {
            upstream: self.file(|lock| lock.debian_source(SOURCE, UPSTREAM))?,
            debian: self.file(|lock| lock.debian_source(SOURCE, DEBIAN))?,
            trusted_firmware: self.package(TRUSTED_FIRMWARE)?,
        })
    }
}

/// The package that U-Boot for Allwinner is in, and in the lock the name of its source, too; the files of that; and the
/// package of what U-Boot starts first.
pub const SOURCE: &str = "u-boot-sunxi";
pub const UPSTREAM: &str = ".orig.tar.xz";
const DEBIAN: &str = ".debian.tar.xz";
const TRUSTED_FIRMWARE: &str = "arm-trusted-firmware";
