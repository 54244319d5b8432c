//! The network outside that boxes of one person share, by a name that they are started with.
//!
//! Its files are in a folder of that name, in one that only this person can open: the wire's socket and its lock, and
//! each box's place, which says its number there.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use miette::Diagnostic;
use octet_machine::panel::outside;

use super::Registration;

/// How many characters a name has at most: the path of a socket has 107 bytes.
const MAX_NAME: usize = 32;

/// The name of such a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideName(String);

/// The network cannot be joined.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum OutsideError {
    /// Its folder cannot be used.
    #[error("cannot use {}: {why}", folder.display())]
    Folder { folder: PathBuf, why: io::Error },
    /// Others could open its folder.
    #[error("{} is somebody else's, or open to others", .0.display())]
    #[diagnostic(help(
        "remove it, or set TMPDIR to a folder of yours for all boxes that are to share a network"
    ))]
    Open(PathBuf),
    /// All numbers are in use.
    #[error("{0} boxes are in the network `{1}`: it has room for no more")]
    Full(u32, String),
}

/// The place of a box in such a network.
#[derive(Debug)]
pub struct OutsideSlot {
    /// The box's number there, from 1.
    pub number: u8,
    pub wire: PathBuf,
    _registration: Registration,
}

impl FromStr for OutsideName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("a name has 1 to {MAX_NAME} characters of a-z, 0-9 and `-`"))
    }
}

impl fmt::Display for OutsideName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl OutsideSlot {
    /// Takes the first free place in the network `name`, for the box whose router has its `sockets` there.
    ///
    /// # Errors
    /// Its folder is not this person's alone, or it is full.
    pub fn join(name: &OutsideName, sockets: &Path) -> Result<Self, OutsideError> {
        let user = rustix::process::geteuid().as_raw();
        let all = std::env::temp_dir().join(format!("octet-outside-{user}"));
        make_private(&all, user)?;
        let folder = all.join(&name.0);
        make_private(&folder, user)?;
        let registration = Registration::register(&folder, &name.0, sockets);
        let registration =
            registration.map_err(|why| OutsideError::Folder { folder: folder.clone(), why })?;
        let number = u8::try_from(registration.number).ok();
        let number = number.filter(|it| outside::address(outside::uplink(*it)).is_some());
        let full = || OutsideError::Full(registration.number - 1, name.0.clone());
        let number = number.ok_or_else(full)?;
        Ok(Self { number, wire: folder.join("wire"), _registration: registration })
    }
}

/// Makes a folder that nobody else can open.
fn make_private(folder: &Path, user: u32) -> Result<(), OutsideError> {
    let failed = |why| OutsideError::Folder { folder: folder.to_owned(), why };
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    // A link that somebody else has put there is none of it.
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    if found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(OutsideError::Open(folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_name_is_no_path() {
        assert!("street-1".parse::<OutsideName>().is_ok());
        for wrong in ["", "..", "a/b", "A", "ä", &"a".repeat(MAX_NAME + 1)] {
            assert!(wrong.parse::<OutsideName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_is_ones_own_alone() {
        let folder = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let own = folder.path().join("own");
        for _ in 0..2 {
            make_private(&own, user).unwrap();
        }
        assert!(make_private(&own, user + 1).is_err());
        let link = folder.path().join("link");
        symlink(&own, &link).unwrap();
        assert!(make_private(&link, user).is_err());
        fs::set_permissions(&own, Permissions::from_mode(0o750)).unwrap();
        assert!(make_private(&own, user).is_err());
    }
}
