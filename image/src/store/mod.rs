//! The content-addressed store: everything fetched, each file under its own SHA-256.

mod derived;
mod pip;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use octet_appliance::FileError;

use crate::digest::Sha256;
use crate::lock::{Input, Lock};
use crate::output::file::WriteError;
use crate::steps::Steps;

pub use derived::{Derived, unpack};
pub use pip::{PipError, platform};

/// The store, and whether it may be added to.
pub struct Store {
    root: PathBuf,
    offline: bool,
}

/// A file newly in the store.
pub struct Fetched {
    /// Its name where it came from.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest, and its name in the store.
    pub sha256: Sha256,
}

/// An input cannot be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StoreError {
    /// No folder for it.
    #[error(
        "there is no folder for the store: none of OCTET_STORE, XDG_CACHE_HOME and HOME is set"
    )]
    #[diagnostic(help("set OCTET_STORE to a folder that may keep 300 MB"))]
    NoFolder,
    /// It is not in the store, and the network is not to be used.
    #[error("input `{name}` {what} ({path})")]
    #[diagnostic(help(
        "run the same command once without --offline: it is fetched then, about {megabytes} MB"
    ))]
    Offline {
        /// The input.
        name: String,
        /// What is wrong with it.
        what: &'static str,
        /// Where it would be.
        path: PathBuf,
        /// How much would be fetched.
        megabytes: u64,
    },
    /// It cannot be fetched.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pip(#[from] PipError),
    /// What was fetched is not what is locked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wrong(#[from] Box<FileError>),
    /// The store's folder refuses.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] WriteError),
}

impl Store {
    /// The store that the environment names; nothing is created yet.
    pub fn open(offline: bool) -> Result<Self, StoreError> {
        let folder =
            |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = folder("OCTET_STORE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("octet/store")))
            .or_else(|| folder("HOME").map(|home| home.join(".cache/octet/store")))
            .ok_or(StoreError::NoFolder)?;
        Ok(Self { root, offline })
    }

    /// Whether the network is not to be used.
    pub fn offline(&self) -> bool {
        self.offline
    }

    fn path(&self, sha256: Sha256) -> PathBuf {
        self.root.join(sha256.to_string())
    }

    /// Sees that `input` is there in full length, and fetches it otherwise.
    pub fn ensure(&self, lock: &Lock, input: &Input, steps: &Steps) -> Result<PathBuf, StoreError> {
        let path = self.path(*input.sha256.get_ref());
        match fs::metadata(&path) {
            Ok(entry) if entry.len() == input.size => Ok(path),
            Ok(_) => self.mend(lock, input, "is truncated in the store", steps),
            Err(_) => self.fetch(lock, input, "is not in the store", steps),
        }
    }

    /// Sees that `input` is there and is what is locked, byte for byte: before its content is used.
    pub fn verified(
        &self,
        lock: &Lock,
        input: &Input,
        steps: &Steps,
    ) -> Result<PathBuf, StoreError> {
        let path = self.ensure(lock, input, steps)?;
        match Sha256::of_file(&path) {
            Ok(sha256) if sha256 == *input.sha256.get_ref() => Ok(path),
            _ => self.mend(lock, input, "is damaged in the store", steps),
        }
    }

    fn mend(
        &self,
        lock: &Lock,
        input: &Input,
        what: &'static str,
        steps: &Steps,
    ) -> Result<PathBuf, StoreError> {
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
    ) -> Result<PathBuf, StoreError> {
        let name = input.name.get_ref();
        let path = self.path(*input.sha256.get_ref());
        if self.offline {
            let megabytes = input.size.div_ceil(1_000_000);
            return Err(StoreError::Offline { name: name.clone(), what, path, megabytes });
        }
        let step = steps.start("fetch", name);
        let _one_at_a_time = self.lock()?;
        if digest(&path)
            .is_ok_and(|it| (it.size, it.sha256) == (input.size, *input.sha256.get_ref()))
        {
            return Ok(path); // another build was faster
        }
        let part = self.part()?;
        let file = pip::download(name, &input.version, platform(&input.file), &part)?;
        let fetched = digest(&file)?;
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
        self.keep(&file, &path)?;
        let _ = fs::remove_dir_all(&part);
        step.done(&format!("{name} {}, {} MB", input.version, input.size / 1_000_000));
        Ok(path)
    }

    /// Fetches `name` as it is published now, whatever the lock says.
    pub fn fetch_new(
        &self,
        name: &str,
        version: &str,
        platform: &str,
    ) -> Result<Fetched, StoreError> {
        let _one_at_a_time = self.lock()?;
        let part = self.part()?;
        let file = pip::download(name, version, platform, &part)?;
        let fetched = digest(&file)?;
        self.keep(&file, &self.path(fetched.sha256))?;
        let _ = fs::remove_dir_all(&part);
        Ok(fetched)
    }

    /// Moves a file that is complete into the store, so that it is there whole or not at all.
    fn keep(&self, file: &Path, path: &Path) -> Result<(), StoreError> {
        let keep = || -> io::Result<()> {
            File::open(file)?.sync_all()?;
            fs::rename(file, path)?;
            File::open(&self.root)?.sync_all()
        };
        Ok(keep().map_err(WriteError::at(path))?)
    }

    /// Held while something is added, so that two builds do not fetch the same thing twice.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join(".lock");
        let take = || -> io::Result<File> {
            fs::create_dir_all(&self.root)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        Ok(take().map_err(WriteError::at(&path))?)
    }

    /// An empty folder in the store; what an interrupted run left in it is gone. Only with the
    /// lock held.
    fn part(&self) -> Result<PathBuf, StoreError> {
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

fn digest(file: &Path) -> Result<Fetched, WriteError> {
    let size = fs::metadata(file).map_err(WriteError::at(file))?.len();
    let sha256 = Sha256::of_file(file).map_err(WriteError::at(file))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Fetched { file: name, size, sha256 })
}
