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
    /// A QEMU guest with 64-bit Arm processors.
    #[value(name = "qemu-aarch64")]
    #[serde(rename = "qemu-aarch64")]
    QemuAarch64,
}

impl Target {
    /// That with a processor as this machine has it; of another kind of machine any, whose programs do not run here.
    pub fn of_host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::QemuAarch64 } else { Self::QemuX86_64 }
    }

    /// Its name, which is also that of its folders under `out/` and `overlays/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QemuX86_64 => "qemu-x86_64",
            Self::QemuAarch64 => "qemu-aarch64",
        }
    }

    /// The processor's architecture, as the kernel and QEMU spell it.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::QemuX86_64 => "x86_64",
            Self::QemuAarch64 => "aarch64",
        }
    }

    /// The same as Debian spells it.
    pub fn debian_architecture(self) -> &'static str {
        match self {
            Self::QemuX86_64 => "amd64",
            Self::QemuAarch64 => "arm64",
        }
    }

    /// The same as UEFI does (UEFI 2.10, 3.5.1.1), in lower case: part of the names below, and
    /// the `architecture` of a boot entry (Boot Loader Specification).
    pub fn efi_architecture(self) -> &'static str {
        match self {
            Self::QemuX86_64 => "x64",
            Self::QemuAarch64 => "aa64",
        }
    }

    /// The program in `EFI/BOOT/` that firmware starts from a disk it has no entry for.
    pub fn efi_boot_name(self) -> String {
        format!("BOOT{}.EFI", self.efi_architecture().to_ascii_uppercase())
    }

    /// The boot loader's own name, in its package and in `EFI/systemd/`.
    pub fn systemd_boot_name(self) -> String {
        format!("systemd-boot{}.efi", self.efi_architecture())
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

    /// What every start tells the kernel. A panic ends in a reboot after three seconds: the boot
    /// loader has counted the try by then, and may start another slot.
    pub fn kernel_command_line(self) -> &'static str {
        match self {
            // Under emulation the check of the timer takes time, and now and then fails.
            Self::QemuX86_64 => "console=ttyS0 quiet no_timer_check panic=3 rdinit=/init",
            Self::QemuAarch64 => "console=ttyAMA0 quiet panic=3 rdinit=/init",
        }
    }

    /// Kernel modules of devices that only such machines have; they are loaded at every start.
    pub fn drivers(self) -> &'static [&'static str] {
        match self {
            // QEMU's watchdog on PCI, and the power button of ACPI, which signals PID 1. Alpine's
            // kernel for Arm has no driver of any watchdog that QEMU has, and the driver of the button
            // cannot be loaded where there is no ACPI: when QEMU starts the kernel without firmware.
            Self::QemuX86_64 => &["i6300esb", "tiny_power_button"],
            Self::QemuAarch64 => &[],
        }
    }

    /// Kernel modules of its watchdog. With a flash they are loaded before it is touched: what hangs
    /// from then on restarts the machine, and the boot loader counts the try.
    pub fn watchdog_modules(self) -> &'static [&'static str] {
        match self {
            Self::QemuX86_64 => &["i6300esb"],
            Self::QemuAarch64 => &[],
        }
    }

    /// Kernel modules without which its flash is not there.
    pub fn disk_modules(self) -> &'static [&'static str] {
        match self {
            Self::QemuX86_64 | Self::QemuAarch64 => &["virtio_blk"],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_firmware_and_tools_look_for() {
        let names = |target: Target| (target.efi_boot_name(), target.systemd_boot_name());
        let x64 = ("BOOTX64.EFI".into(), "systemd-bootx64.efi".into());
        let aa64 = ("BOOTAA64.EFI".into(), "systemd-bootaa64.efi".into());
        assert_eq!(names(Target::QemuX86_64), x64);
        assert_eq!(names(Target::QemuAarch64), aa64);
    }
}
