//! Alpine's own programs, from the seed of the image.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ext4_view::{Ext4, Ext4Read};
use imago::file::File as ImageFile;
use imago::format::gate::DenyImplicitOpenGate;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatDriverBuilder};

use crate::image::workspace;

const LOADER: &str = "lib/ld-musl-x86_64.so.1";

/// apk, and the libraries that it is linked with.
const APK: [&str; 6] = [
    LOADER,
    "sbin/apk",
    "usr/lib/libapk.so.3.0.0",
    "usr/lib/libcrypto.so.3",
    "usr/lib/libssl.so.3",
    "usr/lib/libz.so.1",
];

/// Extracts Alpine's apk into `folder`, and returns it as a command for the root file system
/// `root`.
///
/// # Panics
/// The seed is missing, or has no apk.
pub fn apk(folder: &Path, root: &Path) -> Command {
    let seed = Ext4::load(Box::new(Reader::open())).expect("a file system");
    for path in APK {
        let to = folder.join(path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        let bytes = seed.read(&*format!("/{path}")).expect("a file of the seed");
        fs::write(&to, bytes).expect("room for a file");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let mut command = Command::new(folder.join(LOADER));
    command.arg("--library-path").arg(folder.join("usr/lib")).arg(folder.join("sbin/apk"));
    command.arg("--root").arg(root);
    command
}

struct Reader(FormatAccess<ImageFile>);

impl Reader {
    fn open() -> Self {
        let path = qcow2();
        let file = File::open(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; build the image", path.display()));
        let image = ImageFile::try_from(file).expect("an image");
        let image = Qcow2::<ImageFile>::builder(image).open(DenyImplicitOpenGate::default());
        Self(FormatAccess::new(image.expect("an image")))
    }
}

impl Ext4Read for Reader {
    fn read(
        &mut self,
        start: u64,
        into: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.0.read(into, start).map_err(Into::into)
    }
}

/// The locked seed, where the builder has unpacked it.
fn qcow2() -> PathBuf {
    let lock = fs::read_to_string(workspace().join("appliance.lock")).expect("a lock");
    let lock: toml::Table = lock.parse().expect("TOML");
    let inputs = lock["input"].as_array().expect("inputs");
    let is = |input: &toml::Value, key: &str, value| {
        input.get(key).and_then(toml::Value::as_str) == Some(value)
    };
    let is_seed = |it: &&toml::Value| is(it, "source", "seed") && is(it, "architecture", "x86_64");
    let mut seeds = inputs.iter().filter(is_seed);
    let sha256 = seeds.next().and_then(|seed| seed["sha256"].as_str()).expect("a seed");
    let store = std::env::var_os("OCTET_STORE").filter(|path| !path.is_empty());
    let beside = store.map(|store| PathBuf::from(store).join(".."));
    let folder = beside.unwrap_or_else(|| cache().join("octet"));
    folder.join(format!("derived/{sha256}-seed/qcow2"))
}

/// The folder that contains the builder's cache.
pub fn cache() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .expect("neither XDG_CACHE_HOME nor HOME is set")
}
