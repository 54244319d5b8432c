//! `appliance.lock`: the exact inputs of the image.

mod add;
mod edit;
mod toolchain;
mod update;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use octet_appliance::{FileError, nearest, parse};
use octet_machine::Architecture;
use serde::Deserialize;
use toml::Spanned;

use crate::appliance_file::Mistake;
use crate::digest::Sha256;
use crate::target::Target;

pub use add::add;
pub use toolchain::Toolchain;
pub use update::{record_successor, update};

/// The lock with the text it was read from, so that a mistake can be shown in its place.
#[derive(Debug, Clone)]
pub struct Lock {
    /// The file, as a person names it.
    pub file: String,
    pub text: String,
    pub content: LockContent,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockContent {
    /// The version of this format: 1.
    pub version: Spanned<u32>,
    /// The only date in the image, in seconds since 1970: every file's time.
    pub epoch: u32,
    /// What the last build was compiled with.
    pub toolchain: Toolchain,
    pub input: Vec<Input>,
}

/// One thing that is fetched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name where it is fetched from.
    pub name: Spanned<String>,
    pub source: InputSource,
    /// The architecture of the targets that it is for; a tool serves every target.
    pub architecture: Option<Architecture>,
    /// The only one of these targets that it is for, if not all.
    pub target: Option<Target>,
    pub version: String,
    /// The name of the file that is fetched.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest: what makes it this input and no other.
    pub sha256: Spanned<Sha256>,
}

impl Input {
    fn is_for(&self, target: Target) -> bool {
        self.architecture == Some(target.architecture())
            && self.target.is_none_or(|only| only == target)
    }
}

/// What an input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputSource {
    /// An Alpine root file system, from which packages, modules and the kernel are taken.
    Seed,
    Deb,
    /// A Debian package of U-Boot. It is not in the image: `flash --hardware` writes it beside.
    Firmware,
    /// A file of the source of such a package, which has the package's name: `flash --build-u-boot` builds it.
    DebianSource,
    Tool,
}

impl InputSource {
    /// Whether it is fetched from Debian's archive.
    pub fn is_debian(self) -> bool {
        matches!(self, Self::Deb | Self::Firmware | Self::DebianSource)
    }
}

/// The lock cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum LockError {
    #[error("cannot read {path}: {why}")]
    #[diagnostic(help("restore it: `git checkout appliance.lock`"))]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wrong(#[from] Box<FileError>),
}

impl Lock {
    /// Reads and checks the lock at `path`.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text = fs::read_to_string(path)
            .map_err(|why| LockError::Unreadable { path: path.to_owned(), why })?;
        Ok(Self::parse(&path.display().to_string(), text)?)
    }

    /// Parses and checks `text`, the content of `file`.
    pub fn parse(file: &str, text: String) -> Result<Self, Box<FileError>> {
        let content: LockContent = parse(file, &text)?;
        if *content.version.get_ref() != 1 {
            let message = "this version of the lock's format is not known";
            let hint = "use the release of Octet that wrote it";
            return Err(FileError::new(file, &text, content.version.span(), message, hint));
        }
        let mut debs = content.input.iter().filter(|input| input.source.is_debian());
        if let Some(input) = debs.find(|input| input.architecture.is_none()) {
            let message = "a Debian package is for one architecture, and this one names none";
            let hint = "restore it: `git checkout appliance.lock`";
            return Err(FileError::new(file, &text, input.name.span(), message, hint));
        }
        Ok(Self { file: file.to_owned(), text, content })
    }

    /// A mistake in the lock.
    pub fn error(&self, at: Range<usize>, message: String, hint: String) -> Box<FileError> {
        FileError::new(&self.file, &self.text, at, message, hint)
    }

    /// The seed of `target`.
    pub fn seed(&self, target: Target) -> Result<&Input, Mistake> {
        self.content
            .input
            .iter()
            .find(|input| input.source == InputSource::Seed && input.is_for(target))
            .ok_or_else(|| {
                let message = format!("no seed is locked for {target}");
                self.error(0..0, message, "restore it: `git checkout appliance.lock`".into()).into()
            })
    }

    /// The Debian packages of `target`.
    pub fn debs(&self, target: Target) -> impl Iterator<Item = &Input> {
        let all = self.content.input.iter();
        all.filter(move |input| input.source == InputSource::Deb && input.is_for(target))
    }

    /// The tool `name`.
    pub fn tool(&self, name: &str) -> Result<&Input, Mistake> {
        self.named(InputSource::Tool, "tool", name)
    }

    /// The package `name` of U-Boot.
    pub fn firmware(&self, name: &str) -> Result<&Input, Mistake> {
        self.named(InputSource::Firmware, "firmware", name)
    }

    /// The file with this `ending` of the source of the package `name` of U-Boot.
    pub fn debian_source(&self, name: &str, ending: &str) -> Result<&Input, Mistake> {
        let is_it = |input: &&Input| {
            input.source == InputSource::DebianSource
                && input.name.get_ref() == name
                && input.file.ends_with(ending)
        };
        self.content.input.iter().find(is_it).ok_or_else(|| {
            let message = format!("no source of `{name}` that ends in {ending} is locked");
            self.error(0..0, message, "restore it: `git checkout appliance.lock`".into()).into()
        })
    }

    /// The digests of all files of the source of the package `name`.
    pub fn source_digests(&self, name: &str) -> String {
        let all = self.content.input.iter();
        let ours = all.filter(|input| {
            input.source == InputSource::DebianSource && input.name.get_ref() == name
        });
        ours.map(|input| format!("{} ", input.sha256.get_ref())).collect()
    }

    fn named(&self, source: InputSource, what: &str, name: &str) -> Result<&Input, Mistake> {
        let mut all = self.content.input.iter();
        all.find(|input| input.source == source && input.name.get_ref() == name).ok_or_else(|| {
            let message = format!("no {what} `{name}` is locked");
            self.error(0..0, message, "restore it: `git checkout appliance.lock`".into()).into()
        })
    }

    /// The nearest names of inputs to one that is not there.
    pub fn nearest(&self, name: &str) -> Vec<&str> {
        let mut near =
            nearest(name, self.content.input.iter().map(|input| input.name.get_ref().as_str()));
        near.dedup();
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub const SMALL: &str = "version = 1\nepoch = 7\n[toolchain]\nrustc = \"r\\n\"\nlinker = \"l\"\nlibc = \"m\"\n\
        [[input]]\nname = \"a\"\nsource = \"seed\"\narchitecture = \"x86_64\"\nversion = \"1\"\nfile = \"a.whl\"\n\
        size = 3\nsha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n";

    #[test]
    fn gives_what_it_says() {
        let lock = Lock::parse("appliance.lock", SMALL.into()).unwrap();
        assert_eq!(lock.content.toolchain.rustc, "r\n");
        assert!(lock.seed(Target::QemuX86_64).is_ok());
        assert!(lock.seed(Target::QemuAarch64).is_err());
        assert_eq!(lock.debs(Target::QemuX86_64).count(), 0);
        let deb = SMALL.replace("\"seed\"", "\"deb\"");
        let lock = Lock::parse("appliance.lock", deb.clone()).unwrap();
        assert_eq!(lock.debs(Target::QemuX86_64).count(), 1);
        assert_eq!(lock.debs(Target::QemuAarch64).count(), 0);
        let arm = deb.replace("\"x86_64\"", "\"aarch64\"");
        let counts = |text: &str| {
            let lock = Lock::parse("appliance.lock", text.to_owned()).unwrap();
            [Target::QemuAarch64, Target::BoardArm64].map(|target| lock.debs(target).count())
        };
        assert_eq!(counts(&arm), [1, 1]);
        assert_eq!(counts(&(arm + "target = \"board-arm64\"\n")), [0, 1]);
        let error =
            Lock::parse("appliance.lock", deb.replace("architecture =", "# architecture ="));
        assert_eq!(error.unwrap_err().line, 8);
    }

    #[test]
    fn mistakes_are_placed() {
        for (from, to, line) in [
            ("epoch", "epok", 2),
            ("version = 1", "version = 2", 1),
            ("ba78", "ba7", 14),
            ("\"seed\"", "\"sead\"", 9),
            ("size = 3", "size = -3", 13),
        ] {
            let error = Lock::parse("appliance.lock", SMALL.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = Lock::parse("appliance.lock", text);
        }

        #[test]
        fn never_panics_near_the_truth(at in 0usize..300, garbage in "\\PC{0,3}") {
            let at = at.min(SMALL.len());
            let _ = Lock::parse("appliance.lock", format!("{}{garbage}{}", &SMALL[..at], &SMALL[at..]));
        }
    }
}
