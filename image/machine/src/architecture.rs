//! The processors that a machine can have, and what QEMU calls the rest of such a machine.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The processor of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Architecture {
    /// x86-64.
    #[default]
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
}

/// A program of QEMU, and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub struct Emulator {
    pub program: &'static str,
    pub package: &'static str,
}

/// UEFI firmware: its code, which is only read, and the template of its variables.
#[derive(Debug, Clone, Copy)]
pub struct Firmware {
    pub code: &'static str,
    pub variables: &'static str,
    /// The Debian package that has both.
    pub package: &'static str,
}

impl Architecture {
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Its name, as the kernel and QEMU spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    pub fn emulator(self) -> Emulator {
        match self {
            Self::X86_64 => Emulator { program: "qemu-system-x86_64", package: "qemu-system-x86" },
            Self::Aarch64 => {
                Emulator { program: "qemu-system-aarch64", package: "qemu-system-arm" }
            }
        }
    }

    /// Its firmware, as Debian has it.
    pub fn firmware(self) -> Firmware {
        match self {
            Self::X86_64 => Firmware {
                code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
                variables: "/usr/share/OVMF/OVMF_VARS_4M.fd",
                package: "ovmf",
            },
            Self::Aarch64 => Firmware {
                code: "/usr/share/AAVMF/AAVMF_CODE.fd",
                variables: "/usr/share/AAVMF/AAVMF_VARS.fd",
                package: "qemu-efi-aarch64",
            },
        }
    }

    /// `-M`.
    pub(crate) fn board(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Aarch64 => "virt",
        }
    }

    /// `-cpu`: what QEMU does fastest without help of the host's processor. Pointer authentication
    /// by its real algorithm is what slows the Arm one most.
    pub(crate) fn processor(self) -> &'static str {
        match self {
            Self::X86_64 => "max",
            Self::Aarch64 => "max,pauth-impdef=on",
        }
    }

    /// What the kernel is told of the machine. `no_timer_check`: without the host's help the check
    /// of the timer comes too late now and then, and the kernel panics.
    pub(crate) fn kernel_arguments(self) -> &'static str {
        match self {
            Self::X86_64 => "console=ttyS0 no_timer_check",
            Self::Aarch64 => "console=ttyAMA0",
        }
    }

    /// Whether this is the host's own.
    pub(crate) fn is_hosts(self) -> bool {
        match self {
            Self::X86_64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
        }
    }
}

impl Firmware {
    /// The file that is missing here, if one is.
    pub(crate) fn missing(&self) -> Option<PathBuf> {
        [self.code, self.variables]
            .map(Path::new)
            .into_iter()
            .find(|path| !path.is_file())
            .map(Path::to_owned)
    }
}
