//! A medium with power failures. Any subset of the changes since the last sync can be lost, because
//! FAT guarantees no order. Lost parts of a file read as zeros.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use octet_esp::boot_counter::BootCounter;
use octet_esp::boot_state::{StateCopies, StateWrite};
use octet_esp::medium::{FolderItem, Medium};

/// The content of the medium.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    names: BTreeMap<String, usize>,
    files: BTreeMap<usize, Vec<u8>>,
    folders: BTreeSet<String>,
}

#[derive(Debug, Clone)]
enum Step {
    Name(String, usize),
    Unname(String),
    Write(usize, usize, Vec<u8>),
    Folder(String),
    NoFolder(String),
}

impl Contents {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Name(path, file) => {
                self.names.insert(path.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Step::Unname(path) => drop(self.names.remove(path)),
            Step::Write(file, at, bytes) => {
                let content = self.files.entry(*file).or_default();
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Step::Folder(path) => drop(self.folders.insert(path.clone())),
            Step::NoFolder(path) => drop(self.folders.remove(path)),
        }
    }

    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(self.names.get(path)?).map(Vec::as_slice)
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// All existing folders.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().map(String::as_str)
    }

    fn size(&self) -> u64 {
        self.names.values().map(|file| self.files[file].len() as u64).sum()
    }
}

#[derive(Debug, Clone)]
pub struct Flash {
    durable: Contents,
    now: Contents,
    pending: Vec<Step>,
    next: usize,
    size: u64,
    /// The number of changes until the power fails.
    power: usize,
    /// The number of changes so far, including syncs.
    pub changes: usize,
    /// A file that is damaged: reading returns a changed byte.
    pub bad: Option<String>,
    /// The boot state, if that counts the tries: as it is on the medium, and as it is read.
    boot_state: Option<[StateCopies; 2]>,
}

/// What becomes of a sector that is written while the power fails: all of it, its first part, its
/// last part, or nothing.
pub fn torn<const N: usize>(
    old: &[u8; N],
    new: &[u8; N],
    mut survives: impl FnMut() -> bool,
) -> [u8; N] {
    let mut sector = *old;
    let part = match (survives(), survives()) {
        (true, true) => 0..N,
        (true, false) => 0..40,
        (false, true) => 40..N,
        (false, false) => 0..0,
    };
    sector[part.clone()].copy_from_slice(&new[part]);
    sector
}

impl Flash {
    /// An empty medium of `size` bytes.
    pub fn new(size: u64) -> Self {
        let (durable, now) = (Contents::default(), Contents::default());
        let (pending, bad) = (vec![], None);
        let (power, boot_state) = (usize::MAX, None);
        Self { durable, now, pending, next: 0, size, power, changes: 0, bad, boot_state }
    }

    /// Makes the tries be counted in this boot state.
    pub fn set_boot_state(&mut self, copies: StateCopies) {
        self.boot_state = Some([copies; 2]);
    }

    pub fn put(&mut self, path: &str, bytes: &[u8]) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.make_folder(folder).unwrap();
        }
        self.create(path).unwrap();
        self.append(path, bytes).unwrap();
        self.sync().unwrap();
    }

    /// Makes the power fail after `changes` more changes.
    pub fn cut_after(mut self, changes: usize) -> Self {
        self.power = changes;
        self.changes = 0;
        self
    }

    /// The medium after a power failure: `survives` decides about each unsynced change.
    pub fn after_cut(&self, mut survives: impl FnMut() -> bool) -> Self {
        let mut durable = self.durable.clone();
        self.pending.iter().filter(|_| survives()).for_each(|step| durable.apply(step));
        // Files in a missing folder are unreachable.
        let folders = durable.folders.clone();
        durable.names.retain(|path, _| {
            path.rsplit_once('/').is_none_or(|(folder, _)| folders.contains(folder))
        });
        let now = durable.clone();
        let boot_state = self.boot_state.map(|[durable, now]| {
            let after = [0, 1].map(|copy| torn(&durable[copy], &now[copy], &mut survives));
            [after; 2]
        });
        let (pending, power, changes) = (vec![], usize::MAX, 0);
        Self { durable, now, pending, power, changes, boot_state, ..self.clone() }
    }

    /// The content, as a reader sees it.
    pub fn contents(&self) -> &Contents {
        &self.now
    }

    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        self.power =
            self.power.checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
        Ok(())
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        self.change()?;
        self.now.apply(&step);
        self.pending.push(step);
        Ok(())
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        self.now.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Medium for Flash {
    fn list(&self, folder: &str) -> io::Result<Vec<FolderItem>> {
        let below = |path: &String| {
            let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
            (!rest.contains('/')).then(|| rest.to_owned())
        };
        let files = self.now.names.iter().filter_map(|(path, file)| {
            let size = Some(self.now.files[file].len() as u64);
            Some(FolderItem { name: below(path)?, size })
        });
        let folders = self.now.folders.iter();
        let folders =
            folders.filter_map(|path| Some(FolderItem { name: below(path)?, size: None }));
        Ok(files.chain(folders).collect())
    }

    fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let content = &self.now.files[&self.file(path)?];
        Ok(content[..content.len().min(most as usize)].to_vec())
    }

    fn read_at(&self, path: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let content = &self.now.files[&self.file(path)?];
        let part = content.get(at as usize..at as usize + bytes.len());
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.size.saturating_sub(self.now.size()))
    }

    fn make_folder(&mut self, path: &str) -> io::Result<()> {
        self.step(Step::Folder(path.to_owned()))
    }

    fn create(&mut self, path: &str) -> io::Result<()> {
        assert!(!self.now.names.contains_key(path), "{path} is there");
        self.next += 1;
        self.step(Step::Name(path.to_owned(), self.next))
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        if self.free()? < bytes.len() as u64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.file(path)?;
        self.step(Step::Write(file, self.now.files[&file].len(), bytes.to_vec()))
    }

    /// The parts of a rename can be written in any order. The kernel creates the new name as that
    /// of an empty file first (Linux, fs/fat: `vfat_rename`), and may write the folder in that
    /// state.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.file(from)?;
        self.create(to)?;
        self.step(Step::Name(to.to_owned(), file))?;
        self.step(Step::Unname(from.to_owned()))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.file(path)?;
        self.step(Step::Unname(path.to_owned()))
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        assert!(self.list(path)?.is_empty(), "{path} is not empty");
        self.step(Step::NoFolder(path.to_owned()))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.change()?;
        self.durable = self.now.clone();
        self.pending.clear();
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        assert!(self.pending.is_empty(), "not all is synced");
        if let Some(file) = self.bad.as_ref().and_then(|path| self.now.names.get(path)) {
            let content = self.now.files.get_mut(file).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 1;
        }
        Ok(())
    }

    fn counter(&self) -> BootCounter {
        self.boot_state.map_or(BootCounter::EntryNames, |_| BootCounter::BootState)
    }

    fn boot_state(&self) -> io::Result<StateCopies> {
        self.boot_state.map(|[_, now]| now).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// The write, and its sync. It syncs no files.
    fn change_boot_state(
        &mut self,
        change: impl FnOnce(&StateCopies) -> io::Result<Option<StateWrite>>,
    ) -> io::Result<()> {
        let Some(write) = change(&self.boot_state()?)? else { return Ok(()) };
        self.change()?;
        let copies = self.boot_state.as_mut().unwrap();
        copies[1][usize::from(write.offset > 0)] = write.bytes;
        self.change()?;
        let copies = self.boot_state.as_mut().unwrap();
        copies[0] = copies[1];
        Ok(())
    }
}
