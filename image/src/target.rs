//! What a build can be for.

use std::fmt;

use clap::ValueEnum;
use octet_machine::Architecture;
use serde::{Deserialize, Serialize};

use crate::output::gpt::DiskLayout;

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
    /// A board with 64-bit Arm processors: with an Allwinner H5 or A64, a Raspberry Pi 3 or 4, or any
    /// that boots by UEFI.
    #[value(name = "board-arm64")]
    #[serde(rename = "board-arm64")]
    BoardArm64,
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
            Self::BoardArm64 => "board-arm64",
        }
    }

    pub fn architecture(self) -> Architecture {
        match self {
            Self::QemuX86_64 => Architecture::X86_64,
            Self::QemuAarch64 | Self::BoardArm64 => Architecture::Aarch64,
        }
    }

    /// The processor's architecture as UEFI spells it (UEFI 2.10, 3.5.1.1), in lower case: part of the
    /// names below, and the `architecture` of a boot entry (Boot Loader Specification).
    pub fn efi_architecture(self) -> &'static str {
        match self.architecture() {
            Architecture::X86_64 => "x64",
            Architecture::Aarch64 => "aa64",
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
        match self.architecture() {
            Architecture::X86_64 => "x86_64-unknown-linux-musl",
            Architecture::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// `e_machine` of its programs (ELF gABI, "ELF Header").
    pub fn elf_machine(self) -> u16 {
        match self.architecture() {
            Architecture::X86_64 => elf::abi::EM_X86_64,
            Architecture::Aarch64 => elf::abi::EM_AARCH64,
        }
    }

    /// Whose kernel its image has.
    pub fn kernel(self) -> KernelOrigin {
        match self {
            Self::QemuX86_64 | Self::QemuAarch64 => KernelOrigin::Seed,
            Self::BoardArm64 => KernelOrigin::Debian,
        }
    }

    /// How its disk is laid out.
    pub fn layout(self) -> DiskLayout {
        match self {
            Self::QemuX86_64 | Self::QemuAarch64 => DiskLayout::Uefi,
            Self::BoardArm64 => DiskLayout::Board,
        }
    }

    /// What every start tells the kernel. A panic ends in a reboot after three seconds: the boot
    /// loader has counted the try by then, and may start another slot.
    pub fn kernel_command_line(self) -> &'static str {
        match self {
            // Under emulation the check of the timer takes time, and now and then fails.
            Self::QemuX86_64 => "console=ttyS0 quiet no_timer_check panic=3 rdinit=/init",
            Self::QemuAarch64 => "console=ttyAMA0 quiet panic=3 rdinit=/init",
            // Each board has another serial port: the device tree (`stdout-path`) or ACPI (SPCR) says which.
            Self::BoardArm64 => "quiet panic=3 rdinit=/init",
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
            Self::BoardArm64 => &BOARD_DRIVERS,
        }
    }

    /// Kernel modules of its watchdog. With a flash they are loaded before it is touched: what hangs
    /// from then on restarts the machine, and the boot loader counts the try.
    pub fn watchdog_modules(self) -> &'static [&'static str] {
        match self {
            Self::QemuX86_64 => &["i6300esb"],
            Self::QemuAarch64 => &[],
            Self::BoardArm64 => &["sunxi_wdt", "bcm2835_wdt", "i6300esb"],
        }
    }

    /// Kernel modules without which its flash is not there.
    pub fn disk_modules(self) -> &'static [&'static str] {
        match self {
            Self::QemuX86_64 | Self::QemuAarch64 => &["virtio_blk"],
            Self::BoardArm64 => &BOARD_DISKS,
        }
    }

    /// The module of the character set that the kernel's `vfat` takes when nobody names one
    /// (`CONFIG_FAT_DEFAULT_IOCHARSET`).
    pub fn fat_charset_module(self) -> &'static str {
        match self.kernel() {
            KernelOrigin::Seed => "nls_iso8859_1",
            KernelOrigin::Debian => "nls_ascii",
        }
    }
}

/// Where a kernel comes from, with its modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelOrigin {
    /// Alpine's, of the seed.
    Seed,
    /// Debian's, of the package that `linux-image-arm64` depends on: it has drivers and device trees of boards.
    Debian,
}

/// What the flash of a board is connected by: SD and eMMC of Allwinner (`sunxi_mmc`) and of Broadcom
/// (`sdhci_iproc`, `bcm2835`), with the regulators that feed them, and QEMU's disk.
const BOARD_DISKS: [&str; 10] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "sunxi_mmc",
    "sdhci_iproc",
    "bcm2835",
    "fixed",
    "gpio_regulator",
    "axp20x_regulator",
    "axp20x_rsb",
];

/// Drivers of the boards' other devices. None of them does anything on a board without its device.
const BOARD_DRIVERS: [&str; 23] = [
    // The control port of a guest of QEMU
    "virtio_console",
    // Ethernet: Allwinner; Raspberry Pi 4; Raspberry Pi 3, on USB; and their transceivers
    "dwmac_sun8i",
    "genet",
    "lan78xx",
    "smsc95xx",
    "realtek",
    "broadcom",
    // USB, to which the latter are connected
    "phy_sun4i_usb",
    "ehci_platform",
    "ohci_platform",
    "dwc2",
    // Randomness, temperature, and the frequency of the processor
    "bcm2835_rng",
    "iproc_rng200",
    "sun8i_thermal",
    "bcm2835_thermal",
    "bcm2711_thermal",
    "cpufreq_dt",
    "raspberrypi_cpufreq",
    // LEDs, and a trigger that blinks
    "leds_gpio",
    "ledtrig_timer",
    // I2C, to which displays are connected
    "i2c_mv64xxx",
    "i2c_bcm2835",
    "i2c_dev",
];

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
        assert_eq!(names(Target::BoardArm64), aa64);
    }
}
