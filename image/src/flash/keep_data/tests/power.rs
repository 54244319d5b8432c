//! A disk in memory that loses its power, and what tools that are not ours find on it afterwards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::super::super::error::FlashFault;
use super::super::super::volume::BlockDevice;
use crate::output::sparse::Sparse;

const SECTOR: usize = 512;

pub type Tree = BTreeMap<String, Vec<u8>>;

/// The disk. Until it is synced, any sectors of what was written may be lost.
pub struct Power {
    base: RefCell<Sparse>,
    durable: RefCell<BTreeMap<u64, Vec<u8>>>,
    pending: RefCell<Vec<(u64, Vec<u8>)>>,
    /// How many writes and syncs may still be made.
    left: Cell<usize>,
    pub changes: Cell<usize>,
}

impl Power {
    pub fn new(base: Sparse) -> Self {
        let (base, left) = (RefCell::new(base), Cell::new(usize::MAX));
        let (durable, pending, changes) = Default::default();
        Self { base, durable, pending, left, changes }
    }

    /// Has the power go after so many changes.
    pub fn cut_after(&self, changes: usize) {
        self.left.set(changes);
    }

    /// The power is back: of what was not synced, there is what `survives` says.
    pub fn back(&self, mut survives: impl FnMut() -> bool) {
        let mut pending = self.pending.take();
        pending.retain(|_| survives());
        self.durable.borrow_mut().extend(pending);
        self.left.set(usize::MAX);
    }

    pub fn reset(&self) {
        self.durable.take();
        self.pending.take();
        self.left.set(usize::MAX);
        self.changes.set(0);
    }

    fn change(&self, at: u64) -> Result<(), FlashFault> {
        self.changes.set(self.changes.get() + 1);
        let left = self.left.get().checked_sub(1);
        let gone = || FlashFault::Write { at, why: io::Error::other("the power is gone") };
        self.left.set(left.ok_or_else(gone)?);
        Ok(())
    }

    /// All files on it, by mtools, and what fsck.vfat finds; `scratch` has a copy of it as it was made.
    pub fn look(&self, scratch: &Path) -> (Tree, Option<String>) {
        self.on(scratch, || {
            let check = Command::new("fsck.vfat").arg("-n").arg(scratch).output().unwrap();
            let found = String::from_utf8_lossy(&check.stdout).into_owned();
            (read(scratch), (!check.status.success()).then_some(found))
        })
    }

    /// All files on it, whatever fsck.vfat finds.
    pub fn files(&self, scratch: &Path) -> Tree {
        self.on(scratch, || read(scratch))
    }

    fn on<T>(&self, scratch: &Path, look: impl FnOnce() -> T) -> T {
        let file = File::options().write(true).open(scratch).unwrap();
        for (sector, bytes) in &*self.durable.borrow() {
            file.write_all_at(bytes, sector * SECTOR as u64).unwrap();
        }
        let found = look();
        for sector in self.durable.borrow().keys() {
            let mut bytes = [0; SECTOR];
            self.made(*sector, &mut bytes);
            file.write_all_at(&bytes, sector * SECTOR as u64).unwrap();
        }
        found
    }

    /// A copy of it as it was made.
    pub fn scratch(&self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        self.base.borrow().write_to(file.as_file()).unwrap();
        file
    }

    /// A copy of it as it is now.
    pub fn whole(&self) -> tempfile::NamedTempFile {
        let file = self.scratch();
        for (sector, bytes) in &*self.durable.borrow() {
            file.as_file().write_all_at(bytes, sector * SECTOR as u64).unwrap();
        }
        file
    }

    fn made(&self, sector: u64, into: &mut [u8]) {
        let mut base = self.base.borrow_mut();
        base.seek(SeekFrom::Start(sector * SECTOR as u64)).unwrap();
        base.read_exact(into).unwrap();
    }
}

impl BlockDevice for Power {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), FlashFault> {
        assert!(self.pending.borrow().is_empty(), "not all is synced");
        self.made(at / SECTOR as u64, into);
        for (sector, part) in (at / SECTOR as u64..).zip(into.chunks_mut(SECTOR)) {
            if let Some(bytes) = self.durable.borrow().get(&sector) {
                part.copy_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FlashFault> {
        let sectors = (at / SECTOR as u64..).zip(bytes.chunks(SECTOR));
        let written = sectors.map(|(sector, bytes)| (sector, bytes.to_vec()));
        // What the power goes in the middle of may be there, too.
        self.pending.borrow_mut().extend(written);
        self.change(at)
    }

    fn sync(&self) -> Result<(), FlashFault> {
        self.change(0)?;
        self.durable.borrow_mut().extend(self.pending.take());
        Ok(())
    }
}

fn read(volume: &Path) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let mut copy = Command::new("mcopy");
    copy.args(["-s", "-n", "-i"]).arg(volume).arg("::*").arg(folder.path());
    let said = copy.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mut tree = Tree::new();
    read_into(folder.path(), "", &mut tree);
    tree
}

fn read_into(folder: &Path, path: &str, tree: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{path}{}", entry.file_name().into_string().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => read_into(&entry.path(), &format!("{path}/"), tree),
            false => drop(tree.insert(path, fs::read(entry.path()).unwrap())),
        }
    }
}
