//! The initramfs of a peer's guest: programs of Debian with the libraries they need, and programs of
//! ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::loader_cache;
use octet_image::Cpio;
use octet_image::ElfFile;

/// Where the libraries are in the guest, and first looked for in the packages.
const LIBRARIES: &str = "/lib/x86_64-linux-gnu";

/// Where some packages have theirs.
const OTHER_LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// A file of the packages that is not as it has to be.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{path} cannot be used: {why}")]
#[diagnostic(help(
    "remove the folder it is in; `cargo image bench --setup` unpacks the packages again"
))]
pub struct UnusableRoot {
    path: PathBuf,
    why: io::Error,
}

/// A root file system under construction.
pub struct Root<'a> {
    packages: &'a Path,
    entries: BTreeMap<String, Kind>,
    libraries: BTreeSet<String>,
}

enum Kind {
    Folder,
    File { mode: u16, bytes: Vec<u8> },
    Link(String),
}

impl<'a> Root<'a> {
    /// One with the folders that are mounted onto; `packages` is the folder of what is unpacked.
    pub fn new(packages: &'a Path) -> Self {
        let mut root = Self { packages, entries: BTreeMap::new(), libraries: BTreeSet::new() };
        for folder in ["dev", "proc", "sys", "run", "tmp", "etc"] {
            root.entries.insert(folder.into(), Kind::Folder);
        }
        root
    }

    /// Puts a file at the absolute `path`.
    pub fn file(&mut self, path: &str, mode: u16, bytes: impl Into<Vec<u8>>) {
        self.put(path, Kind::File { mode, bytes: bytes.into() });
    }

    /// Puts a symbolic link at the absolute `path`.
    pub fn link(&mut self, path: &str, target: &str) {
        self.put(path, Kind::Link(target.to_owned()));
    }

    fn put(&mut self, path: &str, kind: Kind) {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            self.entries.entry(path[..end].to_owned()).or_insert(Kind::Folder);
        }
        self.entries.insert(path.to_owned(), kind);
    }

    /// Puts the packages' program at the absolute `path`, with all that it needs.
    pub fn program(&mut self, path: &str) -> Result<(), UnusableRoot> {
        let bytes = self.read(path)?;
        self.needs(&bytes)?;
        self.file(path, 0o755, bytes);
        Ok(())
    }

    fn needs(&mut self, bytes: &[u8]) -> Result<(), UnusableRoot> {
        let Some(program) = ElfFile::parse(bytes) else { return Ok(()) };
        if let Some(loader) = program.interpreter {
            // In its package the loader's own path is a link that leads out of the folder.
            let name = loader.rsplit('/').next().unwrap_or(&loader);
            let bytes = self.read(&format!("{LIBRARIES}/{name}"))?;
            self.file(&loader, 0o755, bytes);
        }
        for name in program.needed {
            if self.libraries.insert(name.clone()) {
                let bytes = self
                    .read(&format!("{LIBRARIES}/{name}"))
                    .or_else(|_| self.read(&format!("{OTHER_LIBRARIES}/{name}")))?;
                self.needs(&bytes)?;
                self.file(&format!("{LIBRARIES}/{name}"), 0o755, bytes);
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, UnusableRoot> {
        let path = self.packages.join(path.trim_start_matches('/'));
        fs::read(&path).map_err(|why| UnusableRoot { path, why })
    }

    pub fn pack(mut self) -> Vec<u8> {
        let names: Vec<_> = self.libraries.iter().map(String::as_str).collect();
        let cache = loader_cache::build(LIBRARIES, &names);
        self.file("/etc/ld.so.cache", 0o644, cache);
        let mut cpio = Cpio::default();
        for (path, kind) in &self.entries {
            match kind {
                Kind::Folder => cpio.folder(path, 0o755),
                Kind::File { mode, bytes } => cpio.file(path, *mode, bytes),
                Kind::Link(target) => cpio.link(path, target),
            }
        }
        // The kernel opens it for PID 1 before anything can make a device.
        cpio.character_device("dev/console", 0o600, (5, 1));
        cpio.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut root = Root::new(Path::new("/nowhere"));
        root.link("/service/1/run", "/bin/idle");
        let text = String::from_utf8_lossy(&root.pack()).into_owned();
        let at = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name}"));
        assert!(at("service\0") < at("service/1\0") && at("service/1\0") < at("service/1/run\0"));
        assert!(text.contains("glibc-ld.so.cache1.1"));
    }

    #[test]
    fn a_program_brings_its_libraries_or_is_refused() {
        let packages = tempfile::tempdir().unwrap();
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let program = ElfFile::parse(&own).unwrap();
        let loader = program.interpreter.clone().unwrap();
        fs::create_dir_all(packages.path().join(&LIBRARIES[1..])).unwrap();
        fs::write(packages.path().join("it"), &own).unwrap();
        let mut root = Root::new(packages.path());
        assert!(root.program("/it").is_err());
        for name in program.needed.iter().chain([&loader]) {
            let name = name.rsplit('/').next().unwrap();
            fs::write(packages.path().join(&LIBRARIES[1..]).join(name), "library").unwrap();
        }
        let mut root = Root::new(packages.path());
        root.program("/it").unwrap();
        assert!(root.entries.contains_key(loader.trim_start_matches('/')));
        assert_eq!(root.libraries.len(), program.needed.len());
    }
}
