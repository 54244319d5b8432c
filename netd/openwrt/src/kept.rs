//! Copies of what a router had, in a folder of whoever changes it: of before the last change, and of before the first one.

use std::io;
use std::path::{Path, PathBuf};

use octet_appliance::RouterAddress;
use octet_node::durable::{self, ExistingFile};

use crate::state::RouterState;

/// Where the copies of one router are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCopies {
    /// What it had before the last change.
    pub last: PathBuf,
    /// What it had before the first one.
    pub first: PathBuf,
}

impl SavedCopies {
    /// Those of the router at `address`, in `folder`.
    pub fn new(folder: &Path, address: &RouterAddress) -> Self {
        let name = address.to_string().replace([':', '[', ']', '%'], "_");
        let file = |end| folder.join(format!("{name}.{end}"));
        Self { last: file("uci"), first: file("first.uci") }
    }

    /// Keeps what it has now, readable by the files' owner alone: there may be passwords in it.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn keep(&self, state: &RouterState) -> io::Result<()> {
        let text = state.export();
        match durable::write(&self.first, text.as_bytes(), ExistingFile::Keep, |_| Ok(())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        durable::write(&self.last, text.as_bytes(), ExistingFile::Replace, |_| Ok(()))
    }
}
