//! The router's password, in the data folder: readable by this unit's user only.
//!
//! The file has two lines: the fingerprint of the router that it is for, and the password. So an
//! operator who can change the settings cannot have it sent to another machine.

use std::fs;
use std::io;
use std::path::PathBuf;

use octet_appliance::Fingerprint;
use octet_node::durable;

use crate::fault::RouterFault;

/// The name of the file.
const NAME: &str = "password";

/// The maximum size of an uploaded file, whose first line is the password, in bytes.
pub const LONGEST: u64 = 1024;

/// The maximum size of the stored file, with the fingerprint.
const LONGEST_KEPT: u64 = LONGEST + 100;

/// The path of the password, if there is a data folder.
#[derive(Debug)]
pub struct Password(Option<PathBuf>);

impl Password {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    pub fn folder(&self) -> Result<&PathBuf, RouterFault> {
        self.0.as_ref().ok_or(RouterFault::NoFolder)
    }

    /// Stores the first line of `file` as the password of the router with this fingerprint.
    ///
    /// # Errors
    /// It is not a valid password, or writing fails.
    pub fn store(&self, router: Fingerprint, file: &[u8]) -> Result<(), RouterFault> {
        let text = std::str::from_utf8(file).map_err(|_| RouterFault::WrongFile)?;
        let first =
            text.lines().next().filter(|line| !line.is_empty()).ok_or(RouterFault::WrongFile)?;
        let path = self.folder()?.join(NAME);
        let kept = format!("{router}\n{first}\n");
        durable::replace(&path, kept.as_bytes()).map_err(|error| RouterFault::Disk("kept", error))
    }

    /// The password of the router with this fingerprint.
    ///
    /// # Errors
    /// There is none, it is another router's, or reading fails.
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

    /// Deletes the password, if there is one.
    ///
    /// # Errors
    /// Deleting fails.
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
