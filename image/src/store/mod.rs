//! The content-addressed store: everything fetched, each file under its own SHA-256.

mod apt;
mod derived;
mod pip;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use miette::Diagnostic;
use octet_appliance::FileError;
use octet_machine::Architecture;

use crate::cache;
use crate::digest::Sha256;
use crate::lock::{Input, InputSource, Lock};
use crate::output::file::{self, WriteError};
use crate::output::file_lock::FileLock;
use crate::steps::Steps;

use self::apt::AvailableVersions;

pub use apt::{Apt, AptError, is_kernel, is_newer};
pub use derived::{Derived, unpack};
pub use pip::PipError;

/// The store, and whether it may be added to.
pub struct InputStore {
    root: PathBuf,
    offline: bool,
    /// Debian's archive by architecture, with lists that were fetched when first needed: once for all packages.
    archives: Mutex<BTreeMap<&'static str, Apt>>,
}

/// A file newly in the store.
pub struct Fetched {
    pub version: String,
    /// Its name where it came from.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest, and its name in the store.
    pub sha256: Sha256,
}

/// An input cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum InputStoreError {
    #[error(
        "there is no folder for the store: none of OCTET_STORE, XDG_CACHE_HOME and HOME is set"
    )]
    #[diagnostic(help("set OCTET_STORE to a folder that may keep 400 MB"))]
    NoFolder,
    /// It is not in the store, and the network is not to be used.
    #[error("input `{name}` {what} ({path})")]
    #[diagnostic(help(
        "run the same command once without --offline: it is fetched then, about {megabytes} MB"
    ))]
    Offline {
        name: String,
        /// What is wrong with it.
        what: &'static str,
        path: PathBuf,
        /// How much would be fetched.
        megabytes: u64,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pip(#[from] PipError),
    /// The same for a Debian package.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Apt(#[from] AptError),
    /// The locked version is not offered any more.
    #[error("input `{name}` {version} is not offered any more, but {offered} is")]
    #[diagnostic(help("`cargo image lock --update {name}` takes the one that is offered"))]
    Unavailable {
        name: String,
        version: String,
        /// The one that apt would take.
        offered: String,
    },
    /// What was fetched is not what is locked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wrong(#[from] Box<FileError>),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] WriteError),
}

impl InputStore {
    /// The store that the environment names; nothing is created yet.
    pub fn open(offline: bool) -> Result<Self, InputStoreError> {
        let named = std::env::var_os("OCTET_STORE").filter(|value| !value.is_empty());
        // Its programs do not run in the current folder.
        let named = named.and_then(|root| path::absolute(root).ok());
        let root = named.or_else(|| cache::folder("store")).ok_or(InputStoreError::NoFolder)?;
        Ok(Self { root, offline, archives: Mutex::default() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the network is not to be used.
    pub fn offline(&self) -> bool {
        self.offline
    }

    fn path(&self, sha256: Sha256) -> PathBuf {
        self.root.join(sha256.to_string())
    }

    /// Whether `input` is there, in full length.
    pub fn contains(&self, input: &Input) -> bool {
        fs::metadata(self.path(*input.sha256.get_ref())).is_ok_and(|it| it.len() == input.size)
    }

    /// Sees that `input` is there in full length, and fetches it otherwise.
    pub fn ensure(
        &self,
        lock: &Lock,
        input: &Input,
        steps: &Steps,
    ) -> Result<PathBuf, InputStoreError> {
        let path = self.path(*input.sha256.get_ref());
        match fs::metadata(&path) {
            Ok(entry) if entry.len() == input.size => Ok(path),
            Ok(_) => self.repair(lock, input, "is truncated in the store", steps),
            Err(_) => self.fetch(lock, input, "is not in the store", steps),
        }
    }

    /// Sees that `input` is there and is what is locked, byte for byte: before its content is used.
    pub fn verified(
        &self,
        lock: &Lock,
        input: &Input,
        steps: &Steps,
    ) -> Result<PathBuf, InputStoreError> {
        let path = self.ensure(lock, input, steps)?;
        match Sha256::of_file(&path) {
            Ok(sha256) if sha256 == *input.sha256.get_ref() => Ok(path),
            _ => self.repair(lock, input, "is damaged in the store", steps),
        }
    }

    fn repair(
        &self,
        lock: &Lock,
        input: &Input,
        what: &'static str,
        steps: &Steps,
    ) -> Result<PathBuf, InputStoreError> {
        let name = input.name.get_ref();
        if !self.offline {
            steps.warn(&format!("input `{name}` {what}; it is fetched again"));
        }
        self.fetch(lock, input, what, steps)
    }

    fn fetch(
        &self,
        lock: &Lock,
        input: &Input,
        what: &'static str,
        steps: &Steps,
    ) -> Result<PathBuf, InputStoreError> {
        let name = input.name.get_ref();
        let path = self.path(*input.sha256.get_ref());
        if self.offline {
            let megabytes = input.size.div_ceil(1_000_000);
            return Err(InputStoreError::Offline { name: name.clone(), what, path, megabytes });
        }
        let step = steps.start("fetch", name);
        let _one_at_a_time = self.lock(steps)?;
        if digest(&path, String::new())
            .is_ok_and(|it| (it.size, it.sha256) == (input.size, *input.sha256.get_ref()))
        {
            return Ok(path); // another build was faster
        }
        let part = self.temporary_folder()?;
        let fetched = self.download(input, Some(&input.version), &part)?;
        if (fetched.size, fetched.sha256) != (input.size, *input.sha256.get_ref()) {
            let _ = fs::remove_dir_all(&part);
            let message = format!(
                "input `{name}` {} has size {} and SHA-256 {}, but {} bytes and this one are locked",
                input.version, fetched.size, fetched.sha256, input.size
            );
            let hint = format!(
                "if the published file is to be trusted: `cargo image lock --update {name}`; \
                 otherwise find out who changed it or this line"
            );
            return Err(lock.error(input.sha256.span(), message, hint).into());
        }
        self.insert(&part.join(&fetched.file), &path)?;
        let _ = fs::remove_dir_all(&part);
        step.done(&format!("{name} {}, {:.1} MB", input.version, input.size as f64 / 1e6));
        Ok(path)
    }

    /// Fetches `input` as it is published now, whatever the lock says, in `version` or in the one
    /// that its source would choose.
    pub fn fetch_new(
        &self,
        input: &Input,
        version: Option<&str>,
        steps: &Steps,
    ) -> Result<Fetched, InputStoreError> {
        let _one_at_a_time = self.lock(steps)?;
        let part = self.temporary_folder()?;
        let fetched = self.download(input, version, &part)?;
        self.insert(&part.join(&fetched.file), &self.path(fetched.sha256))?;
        let _ = fs::remove_dir_all(&part);
        Ok(fetched)
    }

    /// Downloads `input` into the empty folder `part`.
    fn download(
        &self,
        input: &Input,
        version: Option<&str>,
        part: &Path,
    ) -> Result<Fetched, InputStoreError> {
        let name = input.name.get_ref();
        let (file, version) = match (input.source, input.architecture) {
            (source, Some(architecture)) if source.is_debian() => {
                let apt = self.archive(debian_name(architecture))?;
                let version = choose_version(input, &apt.policy(name)?, version)?;
                if source == InputSource::DebianSource {
                    let file = source_file(&input.file, &version);
                    return Ok(digest(
                        &apt.download_source(name, &version, &file, part)?,
                        version,
                    )?);
                }
                let package = apt.real_package(name, &version)?;
                (apt.download(&package, &version, part)?, version)
            }
            _ => {
                let version = version.unwrap_or(&input.version).to_owned();
                (pip::download(name, &version, pip::platform(&input.file), part)?, version)
            }
        };
        Ok(digest(&file, version)?)
    }

    fn archive(&self, architecture: &'static str) -> Result<Apt, AptError> {
        let mut archives = self.archives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(apt) = archives.get(architecture) {
            return Ok(apt.clone());
        }
        let lists = self.root.parent().unwrap_or(&self.root).join("apt");
        let apt = Apt::update(&lists, architecture)?;
        archives.insert(architecture, apt.clone());
        Ok(apt)
    }

    /// Moves a file that is complete into the store, so that it is there whole or not at all.
    fn insert(&self, file: &Path, path: &Path) -> Result<(), InputStoreError> {
        let keep = || -> io::Result<()> {
            File::open(file)?.sync_all()?;
            fs::rename(file, path)?;
            File::open(&self.root)?.sync_all()
        };
        Ok(keep().map_err(WriteError::at(path))?)
    }

    /// Held while something is added, so that two builds do not fetch the same thing twice.
    fn lock(&self, steps: &Steps) -> Result<FileLock, InputStoreError> {
        Ok(file::lock(&self.root.join(".lock"), steps)?)
    }

    /// An empty folder in the store; what an interrupted run left in it is gone. Only with the
    /// lock held.
    fn temporary_folder(&self) -> Result<PathBuf, InputStoreError> {
        let part = self.root.join(".part");
        let make = || -> io::Result<()> {
            if part.exists() {
                fs::remove_dir_all(&part)?;
            }
            fs::create_dir(&part)
        };
        make().map_err(WriteError::at(&part))?;
        Ok(part)
    }
}

/// An architecture as Debian spells it.
pub fn debian_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "amd64",
        Architecture::Aarch64 => "arm64",
    }
}

/// The version of a Debian package to fetch: the wanted one, or what apt would take.
fn choose_version(
    input: &Input,
    offer: &AvailableVersions,
    requested: Option<&str>,
) -> Result<String, InputStoreError> {
    let name = input.name.get_ref();
    let candidate =
        offer.candidate.as_ref().ok_or_else(|| AptError::Unknown { name: name.clone() })?;
    match requested {
        None => Ok(candidate.clone()),
        Some(wanted) if offer.versions.iter().any(|version| version == wanted) => {
            Ok(wanted.to_owned())
        }
        Some(wanted) => Err(InputStoreError::Unavailable {
            name: name.clone(),
            version: wanted.to_owned(),
            offered: candidate.clone(),
        }),
    }
}

/// The name of a file of a source package in another `version` (dpkg-source(1), format 3.0 (quilt)).
fn source_file(file: &str, version: &str) -> String {
    let source = file.split('_').next().unwrap_or_default();
    let upstream = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    match file.ends_with(".orig.tar.xz") {
        true => format!("{source}_{upstream}.orig.tar.xz"),
        false => format!("{source}_{version}.debian.tar.xz"),
    }
}

fn digest(file: &Path, version: String) -> Result<Fetched, WriteError> {
    let size = fs::metadata(file).map_err(WriteError::at(file))?.len();
    let sha256 = Sha256::of_file(file).map_err(WriteError::at(file))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Fetched { version, file: name, size, sha256 })
}
