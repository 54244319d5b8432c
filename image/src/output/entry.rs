//! A slot on the ESP, and what tells the boot loader of it.

use octet_bundle::{
    BootEntry, DATA, EntryName, Manifest, ManifestError, SlotFile, SlotFiles, TRIES,
};

use super::chunks;
use crate::digest::Sha256;
use crate::target::Target;

/// A kernel and its initramfs under the name that tells them from all others.
#[derive(Debug)]
pub struct NamedSlot<'a> {
    /// What it is. Its name is Octet's version and eight hexadecimal digits of the content's digest.
    pub manifest: Manifest,
    /// The kernel, as UEFI starts it.
    pub linux: &'a [u8],
    pub initrd: &'a [u8],
    /// [Device trees](super::device_trees) for U-Boot.
    pub dtb: Option<&'a [u8]>,
}

/// What a slot is besides its files.
#[derive(Debug, Clone, Copy)]
pub struct SlotProperties<'a> {
    pub target: Target,
    pub version: &'a str,
    /// Tells older from newer: for an image that is flashed the time of its lock, in seconds since
    /// 1970. Who signs it as an update says another.
    pub sequence: u64,
    /// How many seconds it may take to become good, where there is another to go back to.
    pub trial: u32,
}

impl<'a> NamedSlot<'a> {
    /// The slot with these files.
    ///
    /// # Errors
    /// They are too large, or what it is makes no sense.
    pub fn new(
        of: &SlotProperties<'_>,
        linux: &'a [u8],
        initrd: &'a [u8],
        dtb: Option<&'a [u8]>,
    ) -> Result<Self, ManifestError> {
        let digest = Sha256::of_parts([linux, initrd].into_iter().chain(dtb)).to_string();
        let text = |_| ManifestError::Inconsistent("its name, version or target is no plain word");
        let manifest = Manifest {
            format: 0,
            target: of.target.name().parse().map_err(text)?,
            architecture: of.target.efi_architecture().parse().map_err(text)?,
            slot: format!("{}-{}", of.version, &digest[..8]).parse().map_err(text)?,
            version: of.version.parse().map_err(text)?,
            sequence: of.sequence,
            floor: 0,
            data: DATA,
            trial: of.trial,
            command_line: of.target.kernel_command_line().parse().map_err(text)?,
            files: SlotFiles {
                linux: chunks::file(linux),
                initrd: chunks::file(initrd),
                dtb: dtb.map(chunks::file),
            },
            patches: vec![],
        };
        Ok(Self { manifest: manifest.validated()?, linux, initrd, dtb })
    }

    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.manifest.files.all().map(|(_, file)| file.size).sum()
    }

    /// The path of its entry on the ESP, without a leading `/`.
    pub fn entry_path(&self) -> String {
        format!("{}/{}", octet_bundle::ENTRIES, EntryName::with_tries(&self.manifest.slot, TRIES))
    }

    /// Its entry.
    pub fn entry(&self) -> String {
        self.boot_entry(&self.paths()).render()
    }

    /// The same for U-Boot's script.
    pub fn env(&self) -> String {
        let dtb = self.dtb.map(|_| format!("/{}", self.manifest.slot.file(SlotFile::Dtb)));
        BootEntry { dtb: dtb.as_deref(), ..self.boot_entry(&self.paths()) }.env().render()
    }

    fn paths(&self) -> [String; 2] {
        [SlotFile::Linux, SlotFile::Initrd]
            .map(|kind| format!("/{}", self.manifest.slot.file(kind)))
    }

    /// It is the only slot of an image that is flashed: there is none to go back to.
    fn boot_entry<'b>(&'b self, [linux, initrd]: &'b [String; 2]) -> BootEntry<'b> {
        BootEntry { manifest: &self.manifest, linux, initrd, dtb: None, on_trial: false }
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
        let of = SlotProperties {
            target: Target::QemuAarch64,
            version: "1.2.3",
            sequence: 17,
            trial: 60,
        };
        let slot = NamedSlot::new(&of, b"a", b"bc", None).unwrap();
        assert_eq!(slot.manifest.slot.as_str(), "1.2.3-ba7816bf");
        assert_eq!(slot.entry_path(), "loader/entries/octet-1.2.3-ba7816bf+3.conf");
        assert_eq!(
            slot.entry(),
            "title        Octet 1.2.3-ba7816bf\n\
             version      17-1.2.3-ba7816bf\n\
             sort-key     octet\n\
             architecture aa64\n\
             linux        /octet/1.2.3-ba7816bf/linux\n\
             initrd       /octet/1.2.3-ba7816bf/initrd\n\
             options      console=ttyAMA0 quiet panic=3 rdinit=/init octet.slot=1.2.3-ba7816bf\n"
        );
        // The same bytes: `printf abc`, in three files.
        let with_trees = NamedSlot::new(&of, b"a", b"b", Some(b"c")).unwrap();
        assert_eq!(with_trees.manifest.slot, slot.manifest.slot);
        assert_eq!((slot.size(), with_trees.size()), (3, 3));
        assert!(!slot.env().contains("dtb") && !with_trees.entry().contains("dtb"));
        assert!(with_trees.env().ends_with("\ntrial=\ndtb=/octet/1.2.3-ba7816bf/dtb\n"));
    }
}
