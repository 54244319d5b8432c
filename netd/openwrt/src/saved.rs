//! Copies of a router's configuration, in a folder of the client that changes it: from before the
//! last change, and from before the first one.

use std::io;
use std::path::{Path, PathBuf};

use octet_appliance::RouterAddress;
use octet_node::durable::{self, ExistingFile};

use crate::state::RouterState;

/// The paths of one router's copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCopies {
    /// The configuration before the last change.
    pub last: PathBuf,
    /// The configuration before the first change.
    pub first: PathBuf,
}

impl SavedCopies {
    /// The copies of the router at `address`, in `folder`.
    pub fn new(folder: &Path, address: &RouterAddress) -> Self {
        let name = address.to_string().replace([':', '[', ']', '%'], "_");
        let file = |end| folder.join(format!("{name}.{end}"));
        Self { last: file("uci"), first: file("first.uci") }
    }

    /// Saves the current configuration, readable only by the owner of the files: it may contain
    /// passwords.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn save(&self, state: &RouterState) -> io::Result<()> {
        let text = state.export();
        match durable::write(&self.first, text.as_bytes(), ExistingFile::Keep, |_| Ok(())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        durable::replace(&self.last, text.as_bytes())
    }
}
