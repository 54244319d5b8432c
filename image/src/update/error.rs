//! What can go wrong, and what to do.

use std::path::PathBuf;

use miette::Diagnostic;

/// An update cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum UpdateError {
    /// A file cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    #[diagnostic(help("{help}"))]
    Read { path: PathBuf, why: std::io::Error, help: &'static str },
    /// The image is not as the builder makes it.
    #[error("{}: {problem}", path.display())]
    #[diagnostic(help("build it again: `cargo image build`"))]
    Image {
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A key cannot be made or used.
    #[error("{}: {why}", path.display())]
    #[diagnostic(help("{help}"))]
    Key { path: PathBuf, why: minisign::PError, help: &'static str },
    /// A password is to be asked for, and nobody can be.
    #[error("the password of {} is asked for at a terminal, and there is none", path.display())]
    #[diagnostic(help("{help}"))]
    NoTerminal { path: PathBuf, help: &'static str },
    /// There is a key already.
    #[error("{} is there already, and is not overwritten", .0.display())]
    #[diagnostic(help("name another file, or move that one away if it is no key in use"))]
    KeyExists(PathBuf),
    /// Sequence or floor make no sense.
    #[error("{0}")]
    #[diagnostic(help(
        "give --sequence a number above every release before, and --floor none above it"
    ))]
    Release(String),
    /// What was signed is of another image.
    #[error("{} is of slot {signed}, and the image has slot {built}", path.display())]
    #[diagnostic(help("sign what was built: `cargo image sign --key FILE`"))]
    OtherImage { path: PathBuf, signed: String, built: String },
}
