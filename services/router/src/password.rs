//! The password of the router's login, in the data folder: readable by this unit's user alone.
//!
//! The file has two lines: the fingerprint of the router that it is for, and the password. So whoever may change settings, and
//! names another machine there, is not sent it.

use std::fs;
use std::io;
use std::path::PathBuf;

use octet_appliance::Fingerprint;
use octet_node::durable::{self, ExistingFile};

use crate::fault::RouterFault;

/// The name of the file.
const NAME: &str = "password";

/// The longest file in whose first line it is given, in bytes.
pub const LONGEST: u64 = 1024;

/// The longest file that is kept: a fingerprint besides.
const LONGEST_KEPT: u64 = LONGEST + 100;

/// Where the password is, if there is a place for it.
#[derive(Debug)]
pub struct Password(Option<PathBuf>);

impl Password {
    /// That in `folder`, a data folder.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    pub fn folder(&self) -> Result<&PathBuf, RouterFault> {
        self.0.as_ref().ok_or(RouterFault::NoFolder)
    }

    /// Keeps the first line of `file`, for the router with this fingerprint, instead of what was kept.
    ///
    /// # Errors
    /// It is none, or the disk does not take it.
    pub fn keep(&self, router: Fingerprint, file: &[u8]) -> Result<(), RouterFault> {
        let text = std::str::from_utf8(file).map_err(|_| RouterFault::WrongFile)?;
        let first =
            text.lines().next().filter(|line| !line.is_empty()).ok_or(RouterFault::WrongFile)?;
        let path = self.folder()?.join(NAME);
        let kept = format!("{router}\n{first}\n");
        durable::write(&path, kept.as_bytes(), ExistingFile::Replace, |_| Ok(()))
            .map_err(|error| RouterFault::Disk("kept", error))
    }

    /// What is kept for the router with this fingerprint.
    ///
    /// # Errors
    /// Nothing is, or it is another router's, or the disk does not give it.
    pub fn read(&self, router: Fingerprint) -> Result<String, RouterFault> {
        let unread = |error| RouterFault::Disk("read", error);
        let kept = durable::read(&self.folder()?.join(NAME), LONGEST_KEPT).map_err(unread)?;
        let kept = String::from_utf8(kept.ok_or(RouterFault::NoPassword)?).map_err(|error| {
            unread(io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
        })?;
        let mut lines = kept.lines();
        match (lines.next(), lines.next()) {
            (Some(of), Some(password)) if of == router.to_string() => Ok(password.to_owned()),
            _ => Err(RouterFault::OtherRouter),
        }
    }

    /// Takes it away; there may be none.
    ///
    /// # Errors
    /// The disk does not do that.
    pub fn forget(&self) -> Result<(), RouterFault> {
        let Some(folder) = &self.0 else { return Ok(()) };
        match fs::remove_file(folder.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RouterFault::Disk("taken away", error));
            }
            _ => {}
        }
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| RouterFault::Disk("taken away", error))
    }
}
