//! Where things are: the workspace, its `out/` folder, the appliance's files.

use std::path::{Path, PathBuf};

use miette::Diagnostic;

/// The workspace is not there, or not whole.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("no Octet workspace at or above {0}")]
#[diagnostic(help("run `cargo image` inside a clone of Octet"))]
pub struct NoWorkspace(PathBuf);

/// The folder of a clone.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace at or above `from`: the first folder with both `Cargo.toml` and `overlays`.
    pub fn find(from: &Path) -> Result<Self, NoWorkspace> {
        from.ancestors()
            .find(|folder| folder.join("Cargo.toml").is_file() && folder.join("overlays").is_dir())
            .map(|root| Self { root: root.to_owned() })
            .ok_or_else(|| NoWorkspace(from.to_owned()))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}
