//! The seed: an Alpine root file system inside a disk image inside a wheel. Everything here reads
//! bytes that someone else made: it must not panic, nor use unbounded memory or time.

mod bounds;
mod disk;
mod guard;
mod installed;
mod modules;
mod scripts;
mod zboot;

pub use disk::{SeedDisk, SeedDiskError};
pub use guard::run_with_timeout;
pub use installed::{Installed, InstalledError, InstalledFile, InstalledPackage, records};
pub use modules::{Modules, file_name, name as module_name};
pub use scripts::{Handled, Scripts};
pub use zboot::unpack as unpack_kernel;

#[cfg(test)]
mod damage;
