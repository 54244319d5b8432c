//! The image that ships.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use octet_machine::{Builder, Machine};

use crate::builder::builder;
use crate::tool::must;

/// A built image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its folder.
    pub folder: PathBuf,
}

impl Image {
    /// Builds the workspace's image with further options for `cargo image build`.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn build(out: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(builder());
        must(command.current_dir(workspace()).arg("build").arg("--out").arg(out).args(options));
        Self { folder: out.join("qemu-x86_64") }
    }

    /// A machine that boots it.
    pub fn machine(&self) -> Builder {
        Machine::builder(self.file("boot/linux"), self.file("boot/initrd"))
    }

    /// One of its files.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// What is under `out/`: the one `cargo image test` has just built, else it is built now. Several
/// test programs may ask at once; the builder lets one at a time write.
///
/// # Panics
/// It cannot be built.
pub fn shipped() -> Image {
    static SHIPPED: OnceLock<Image> = OnceLock::new();
    let build = || match std::env::var_os("OCTET_IMAGE_BUILT") {
        Some(folder) => Image { folder: folder.into() },
        None => Image::build(&workspace().join("out"), &[]),
    };
    SHIPPED.get_or_init(build).clone()
}

/// The clone these tests are of.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The store that builds use, for those that run in another HOME.
///
/// # Panics
/// The environment names none.
pub fn store() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("OCTET_STORE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("octet/store")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/octet/store")))
        .unwrap_or_else(|| panic!("none of OCTET_STORE, XDG_CACHE_HOME and HOME is set"))
}
