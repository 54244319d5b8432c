//! A slot on the ESP, and what tells the boot loader of it.

use std::fmt::Write as _;

use crate::digest::Sha256;
use crate::target::Target;

/// A kernel and its initramfs under the name that tells them from all others.
#[derive(Debug)]
pub struct Slot<'a> {
    /// Octet's version, and eight hexadecimal digits of the content's digest.
    pub version: String,
    /// The kernel, as UEFI starts it.
    pub linux: &'a [u8],
    /// The initramfs.
    pub initrd: &'a [u8],
}

/// How often a new slot is tried before the boot loader takes another: the number in an entry's
/// name (Automatic Boot Assessment).
const TRIES: u32 = 3;

impl<'a> Slot<'a> {
    /// The slot of Octet's `version` with these files.
    pub fn new(version: &str, linux: &'a [u8], initrd: &'a [u8]) -> Self {
        let digest = Sha256::of_parts([linux, initrd]).to_string();
        Self { version: format!("{version}-{}", &digest[..8]), linux, initrd }
    }

    /// Its folder on the ESP, without a leading `/`.
    pub fn folder(&self) -> String {
        format!("octet/{}", self.version)
    }

    /// The path of its entry on the ESP, without a leading `/`.
    pub fn entry_path(&self) -> String {
        format!("loader/entries/octet-{}+{TRIES}.conf", self.version)
    }

    /// Its entry (Boot Loader Specification, type 1).
    pub fn entry(&self, target: Target) -> String {
        let (version, folder) = (&self.version, self.folder());
        let options = format!("{} octet.slot={version}", target.kernel_command_line());
        let mut text = String::new();
        for (key, value) in [
            ("title", format!("Octet {version}")),
            ("version", version.clone()),
            ("sort-key", "octet".into()),
            ("architecture", target.efi_architecture().into()),
            ("linux", format!("/{folder}/linux")),
            ("initrd", format!("/{folder}/initrd")),
            ("options", options),
        ] {
            let _ = writeln!(text, "{key:12} {value}");
        }
        text
    }
}

/// The boot loader's settings (loader.conf(5)): nobody waits for a menu, and whoever holds the
/// console does not change the kernel's command line.
pub const LOADER_CONF: &str = "timeout 0\neditor no\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_text() {
        // printf abc | sha256sum
        let slot = Slot::new("1.2.3", b"a", b"bc");
        assert_eq!(slot.version, "1.2.3-ba7816bf");
        assert_eq!(slot.entry_path(), "loader/entries/octet-1.2.3-ba7816bf+3.conf");
        assert_eq!(
            slot.entry(Target::QemuAarch64),
            "title        Octet 1.2.3-ba7816bf\n\
             version      1.2.3-ba7816bf\n\
             sort-key     octet\n\
             architecture aa64\n\
             linux        /octet/1.2.3-ba7816bf/linux\n\
             initrd       /octet/1.2.3-ba7816bf/initrd\n\
             options      console=ttyAMA0 quiet panic=3 rdinit=/init octet.slot=1.2.3-ba7816bf\n"
        );
    }
}
