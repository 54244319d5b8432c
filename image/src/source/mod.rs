//! Where the files of an image come from.

mod cargo;
mod deb;
mod kernel;
mod path;
mod purl;
mod seed;

use crate::tree::{PackageRecord, Tree};

pub use cargo::{CRATES_FOLDER, CargoSource, INIT, PROGRAMS_FOLDER, Tools, Unpacked, programs};
pub use deb::{DebPackage, DebSource, NamedProgram as WantedProgram, package as deb_package};
pub use kernel::NamedModule;
pub use path::PathSource;
pub use seed::SeedSource;

/// Something that files are taken from: the seed, Debian's packages, this workspace, files of the
/// owner's; later an Alpine mirror. It is made with what is wanted of it.
pub trait PackageSource {
    fn name(&self) -> &'static str;

    /// What is going on while it is at work.
    fn progress_text(&self) -> String;

    /// Puts all that is wanted of it, with all that needs, into `tree`.
    fn add_to(&self, tree: &mut Tree) -> miette::Result<Provided>;
}

/// What a source has put into the tree, besides the files themselves.
#[derive(Debug, Default)]
pub struct Provided {
    pub summary: String,
    /// What a person may want to know.
    pub notes: Vec<String>,
    /// What the bill of materials lists.
    pub components: Vec<Component>,
    /// What the packages' own managers would keep of them.
    pub records: Vec<PackageRecord>,
    /// Kernel modules that load before the root file system is there, in that order, by their
    /// paths in the tree.
    pub early: Vec<String>,
    /// Those that load before base units that name them, in the same way.
    pub first: Vec<String>,
    /// Those that load on a router, in the same way.
    pub router: Vec<String>,
    /// Those that load at every start, in the same way.
    pub modules: Vec<String>,
    /// Those that load before the flash is touched, in the same way.
    pub disk: Vec<String>,
}

/// One line of the bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// What kind of thing it is.
    pub kind: ComponentKind,
    pub name: String,
    /// Its version; of a file the beginning of its SHA-256.
    pub version: String,
    pub supplier: &'static str,
    /// Its licence as its publisher gives it. The text of a `LicenseRef` is all of `notices`.
    pub license: Option<String>,
    /// Package URL (purl-spec), if its kind has one.
    pub purl: Option<String>,
    /// Of what its publisher distributes.
    pub checksum: Option<Checksum>,
    /// What its complete source is, by version and hash.
    pub source: String,
    /// Licences that its notices leave to others to give in full, as SPDX names them.
    pub common: Vec<String>,
    /// Licences and notices that come with it, in full.
    pub notices: Vec<String>,
    /// Names of other components of the same kind that it uses.
    pub uses: Vec<String>,
}

/// A digest, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// Of the control segment of an Alpine package, as apk compares it.
    Sha1(String),
    Sha256(String),
}

/// What kind of thing a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComponentKind {
    Alpine,
    Debian,
    /// A Rust crate, compiled in.
    Crate,
    /// A library that comes with the compiler.
    Toolchain,
    /// A file of the owner's.
    File,
}
