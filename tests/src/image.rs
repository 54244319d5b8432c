//! The released image.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use flate2::read::GzDecoder;
use octet_machine::{Architecture, Builder, Disk, Machine};
use tempfile::TempDir;

use crate::programs::{builder, made};
use crate::shared::shared;
use crate::tool::must;

/// The target with a processor other than x86-64.
pub const AARCH64: &str = "qemu-aarch64";

/// The target of boards, which have a processor of the same kind.
pub const BOARD: &str = "board-arm64";

const X86_64: &str = "qemu-x86_64";

#[derive(Debug, Clone)]
pub struct Image {
    pub folder: PathBuf,
    pub architecture: Architecture,
    /// The image's folder if it is temporary; it is removed with the last copy of this value.
    pub(crate) temporary: Option<Arc<TempDir>>,
}

impl Image {
    /// An existing image for x86_64 in `folder`.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, architecture: Architecture::X86_64, temporary: None }
    }

    /// Builds the workspace's image with further options of `cargo image build`.
    pub fn build(out: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(builder());
        must(command.current_dir(workspace()).arg("build").arg("--out").arg(out).args(options));
        let target = [AARCH64, BOARD].into_iter().find(|target| options.contains(target));
        let architecture =
            if target.is_some() { Architecture::Aarch64 } else { Architecture::X86_64 };
        let folder = out.join(target.unwrap_or(X86_64));
        Self { folder, architecture, temporary: None }
    }

    /// Builds the image with additional services: each has a program, and a unit file of
    /// `tests/services` with its name.
    pub fn with_services(services: &[(&str, PathBuf)]) -> Self {
        Self::with_services_and(services, "")
    }

    /// The same, with further `sections` of `appliance.toml`.
    pub fn with_services_and(services: &[(&str, PathBuf)], sections: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let copy = |from: &Path, to: &str| fs::copy(from, path(to)).expect("a copy");
        let mut text = fs::read_to_string(workspace().join("appliance.toml")).expect("text");
        for (name, program) in services {
            let unit = format!("{name}.toml");
            copy(program, name);
            copy(&workspace().join("tests/services").join(&unit), &unit);
            text += &format!("\n[[service]]\npath = \"{name}\"\nunit = \"{unit}\"\n");
        }
        text += sections;
        fs::write(path("appliance.toml"), text).expect("room for a file");
        let appliance = path("appliance.toml").to_string_lossy().into_owned();
        let mut image = Self::build(&path("out"), &["--appliance", &appliance]);
        image.temporary = Some(Arc::new(folder));
        image
    }

    /// A machine that boots it without a disk, as fast as QEMU can: the kernel is unpacked on the
    /// host, and address space layout randomization is off, so that translated code can be reused.
    pub fn machine(&self) -> Builder {
        self.machine_with(&self.file("boot/initrd"))
    }

    /// The same with another initramfs.
    pub fn machine_with(&self, initrd: &Path) -> Builder {
        let linux = self.file("boot/linux");
        let linux =
            if self.architecture == Architecture::X86_64 { unpacked(&linux) } else { linux };
        let builder = Machine::builder(linux, initrd);
        builder.architecture(self.architecture).kernel_argument("norandmaps")
    }

    /// The same with the kernel as it is released, and with address space layout randomization.
    pub fn machine_as_shipped(&self) -> Builder {
        Machine::builder(self.file("boot/linux"), self.file("boot/initrd"))
            .architecture(self.architecture)
    }

    /// A machine whose firmware boots it from `disk`.
    pub fn machine_from(&self, disk: Disk) -> Builder {
        Machine::from_disk(self.architecture, disk)
    }

    /// The version of its slot, from the manifest.
    pub fn slot(&self) -> String {
        let text = fs::read(self.file("manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        manifest["slot"].as_str().expect("the slot's version").to_owned()
    }

    /// The squashfs of its root, extracted into `folder` with cpio.
    pub fn squashfs(&self, folder: &Path) -> PathBuf {
        let initrd = fs::File::open(self.file("boot/initrd")).expect("an initrd");
        let args = ["--extract", "--unconditional", "--quiet", "root.squashfs"];
        must(Command::new("cpio").current_dir(folder).args(args).stdin(Stdio::from(initrd)));
        folder.join("root.squashfs")
    }

    /// Its root, unpacked into `folder` with unsquashfs.
    pub fn root(&self, folder: &Path) -> PathBuf {
        let (squashfs, root) = (self.squashfs(folder), folder.join("root"));
        let args = ["-quiet", "-no-progress", "-d"];
        must(Command::new("unsquashfs").args(args).arg(&root).arg(squashfs));
        root
    }

    /// Its PID 1.
    ///
    /// # Panics
    /// The initramfs has none.
    pub fn init(&self) -> Vec<u8> {
        let initrd = fs::read(self.file("boot/initrd")).expect("an initramfs");
        crate::initrd::find(&initrd, "init").expect("PID 1").to_vec()
    }

    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// The image that `cargo image test` has built before the tests.
pub fn shipped() -> Image {
    Image::at(made("OCTET_IMAGE_BUILT"))
}

/// The image for another target, which is built in `out/` as well.
pub fn shipped_for(target: &str) -> Image {
    Image::build(&workspace().join("out"), &["--target", target])
}

/// The released `appliance.toml`, changed for a single board without a router, which `[network]`
/// configures.
///
/// # Panics
/// The file no longer has the parts to be changed.
pub fn text_of_one_board() -> String {
    let text = fs::read_to_string(workspace().join("appliance.toml")).expect("a text");
    let (before, rest) = text.split_once("\n[cluster]\n").expect("a box with a router");
    let (_, after) = rest.split_once("\n# Whose updates a box takes").expect("what comes then");
    let text = format!("{before}\n# Whose updates a box takes{after}");
    assert!(!text.contains("\n[lan]\n") && !text.contains("\n[[policy]]\n"));
    text
}

/// The workspace of these tests.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The ELF file within a kernel for x86-64, which is compressed with gzip
/// (Documentation/arch/x86/boot.rst).
///
/// # Panics
/// There is none, or the host refuses.
fn unpacked(linux: &Path) -> PathBuf {
    let packed = fs::read(linux).expect("the kernel");
    let number =
        |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes")) as usize;
    let code = (usize::from(packed[0x1f1]) + 1) * 512;
    let payload = &packed[code + number(&packed[0x248..])..][..number(&packed[0x24c..])];
    // It ends with its CRC-32 and its length (RFC 1952).
    let sum = number(&payload[payload.len() - 8..]);
    let folder = shared(&format!("linux-{sum:08x}"), |folder| {
        let mut elf = vec![];
        GzDecoder::new(payload).read_to_end(&mut elf).expect("a kernel packed by gzip");
        fs::write(folder.join("linux"), elf).expect("room for a file");
    });
    folder.join("linux")
}
