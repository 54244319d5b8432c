//! The language of Octet: what `appliance.toml` and `unit.toml` may say.
//!
//! Text becomes types that cannot be wrong (newtypes, checked while parsing), and everything
//! wrong becomes a [`FileError`] that names file, line, column and what to do.

mod appliance;
mod document;
mod duration;
mod file_error;
mod graph;
mod name;
mod path;
mod unit;
mod user;

pub use appliance::{Appliance, Identity, Image, Service};
pub use document::parse;
pub use duration::{InvalidSpan, Span};
pub use file_error::{FileError, nearest};
pub use graph::{UnitSource, start_order};
pub use name::{ApplianceName, InvalidName, ModuleName, PackageName, UnitName};
pub use path::{ImagePath, InvalidPath};
/// The program of PID 1, as a unit file names it: it left the file system with the initramfs.
pub const INIT_PROGRAM: &str = "/proc/self/exe";

/// Where the builder puts the units of an image, in start order, as JSON for PID 1.
pub const UNITS: &str = "/usr/lib/octet/units.json";

pub use unit::{Readiness, Restart, RestartPolicy, Signal, Start, Stdio, Stop, Unit, UnitType};
pub use user::{USERS, UnknownUser, User, UserName};
