//! What a build can be for.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
pub enum Target {
    /// A QEMU guest with x86-64 processors.
    #[default]
    #[value(name = "qemu-x86_64")]
    #[serde(rename = "qemu-x86_64")]
    QemuX86_64,
    /// A QEMU guest with 64-bit Arm processors: locked already, not built yet.
    #[value(skip)]
    #[serde(rename = "qemu-aarch64")]
    QemuAarch64,
}

impl Target {
    /// Its name, which is also that of its folders under `out/` and `overlays/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QemuX86_64 => "qemu-x86_64",
            Self::QemuAarch64 => "qemu-aarch64",
        }
    }

    /// The Rust target of the programs in its image.
    pub fn triple(self) -> &'static str {
        match self {
            Self::QemuX86_64 => "x86_64-unknown-linux-musl",
            Self::QemuAarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// `e_machine` of its programs (ELF gABI, "ELF Header").
    pub fn elf_machine(self) -> u16 {
        match self {
            Self::QemuX86_64 => elf::abi::EM_X86_64,
            Self::QemuAarch64 => elf::abi::EM_AARCH64,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
