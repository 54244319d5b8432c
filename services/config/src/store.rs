//! The storage of copies: a folder with one file per copy, which is staged, synced and renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use octet_node::durable::{self, ExistingFile};

use crate::copy::{MAX_COPY, StoredCopy};
use crate::name::{CopyName, CopyState};

/// The maximum number of confirmed copies, and of others.
const MAX: usize = 16;

/// A folder for copies. Once a call returns without an error, its effect survives a power cut.
pub trait Folder {
    /// The names of the files.
    ///
    /// # Errors
    /// Reading fails.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The content of the file `name`.
    ///
    /// # Errors
    /// Reading fails.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Creates the file `name` with this content. After a power cut it is complete or absent.
    ///
    /// # Errors
    /// Writing fails.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Renames the file `from`. After a power cut it has one of the two names.
    ///
    /// # Errors
    /// Writing fails.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the file `name`; the removal need not be synced.
    ///
    /// # Errors
    /// Writing fails.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct OnDisk(pub PathBuf);

impl Folder for OnDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        durable::read(&self.0.join(name), MAX_COPY)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        durable::write(&self.0.join(name), bytes, ExistingFile::Keep, |_| Ok(()))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))?;
        File::open(&self.0)?.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}

/// A folder in memory, for a box without a data partition.
#[derive(Debug, Default)]
pub struct InMemory(BTreeMap<String, Vec<u8>>);

impl Folder for InMemory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let content = self.0.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.0.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl<T: Folder + ?Sized> Folder for Box<T> {
    fn list(&self) -> io::Result<Vec<String>> {
        (**self).list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        (**self).read(name)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        (**self).write(name, bytes)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }
}

#[derive(Debug)]
pub struct ConfigStore<F> {
    folder: F,
    copies: BTreeMap<u64, CopyState>,
}

impl<F: Folder> ConfigStore<F> {
    /// Opens `folder`. A pending copy is undone: no operator has confirmed it, perhaps because it
    /// has cut operators off.
    ///
    /// # Errors
    /// Reading fails.
    pub fn open(folder: F) -> io::Result<(Self, Vec<String>)> {
        let (mut store, mut notes) = (Self { folder, copies: BTreeMap::new() }, vec![]);
        for name in store.folder.list()? {
            match CopyName::parse(&name) {
                Some(name) => {
                    let state = store.copies.entry(name.sequence).or_insert(name.state);
                    *state = name.state.max(*state);
                }
                None if is_staged(&name) => drop(store.folder.remove(&name)),
                None => notes.push(format!("`{name}` is not a copy of a configuration")),
            }
        }
        for sequence in store.in_state(CopyState::Trying) {
            notes.push(format!("configuration {sequence} was not confirmed, so it is undone"));
            if let Err(error) = store.undo(sequence) {
                // It is not active; the next start tries again.
                notes.push(format!("configuration {sequence}: {error}"));
            }
        }
        Ok((store, notes))
    }

    /// The number of the next copy.
    pub fn next_sequence(&self) -> u64 {
        self.copies.last_key_value().map_or(0, |(sequence, _)| *sequence).saturating_add(1)
    }

    /// All copies, the newest first.
    pub fn copies(&self) -> impl Iterator<Item = CopyName> {
        let copies = self.copies.iter().rev();
        copies.map(|(&sequence, &state)| CopyName { sequence, state })
    }

    fn in_state(&self, state: CopyState) -> Vec<u64> {
        self.copies().filter(|name| name.state == state).map(|name| name.sequence).collect()
    }

    /// Confirmed copies, the newest first.
    pub fn confirmed(&self) -> Vec<u64> {
        self.in_state(CopyState::Confirmed)
    }

    /// Reads the copy `sequence`.
    pub fn read(&self, sequence: u64) -> Result<StoredCopy, String> {
        let Some(&state) = self.copies.get(&sequence) else {
            return Err("there is no such copy".into());
        };
        let name = CopyName { sequence, state }.to_string();
        let bytes = self.folder.read(&name).map_err(|error| error.to_string())?;
        let copy = StoredCopy::from_bytes(&bytes).map_err(|error| error.to_string())?;
        // A copy under another number is replayed or swapped.
        if copy.sequence == sequence { Ok(copy) } else { Err("it has another's name".into()) }
    }

    /// Stores `copy` as pending.
    ///
    /// # Errors
    /// Its number is not the next one, or writing fails; nothing has changed then.
    pub fn insert(&mut self, copy: &StoredCopy) -> io::Result<()> {
        let (sequence, state) = (copy.sequence, CopyState::Trying);
        if sequence != self.next_sequence() {
            let message = format!("{sequence} is not the next number, {}", self.next_sequence());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let name = CopyName { sequence, state };
        self.folder.write(&name.to_string(), &copy.to_bytes())?;
        self.copies.insert(sequence, state);
        Ok(())
    }

    /// Makes the pending copy permanent.
    ///
    /// # Errors
    /// Writing fails; the copy stays pending then.
    pub fn confirm(&mut self, sequence: u64) -> io::Result<()> {
        self.set_state(sequence, CopyState::Confirmed)?;
        self.copies.insert(sequence, CopyState::Confirmed);
        self.prune();
        Ok(())
    }

    /// Undoes the pending copy.
    ///
    /// # Errors
    /// Writing fails; the next start undoes it then.
    pub fn undo(&mut self, sequence: u64) -> io::Result<()> {
        let moved = self.set_state(sequence, CopyState::Undone);
        if moved.is_ok() {
            self.copies.insert(sequence, CopyState::Undone);
            self.prune();
        }
        moved
    }

    fn set_state(&mut self, sequence: u64, state: CopyState) -> io::Result<()> {
        let from = CopyName { sequence, state: CopyState::Trying };
        self.folder.rename(&from.to_string(), &CopyName { sequence, state }.to_string())
    }

    /// Removes copies that are too old for a rollback. The newest copy always stays, so that its
    /// number is not reused. A failed removal is retried later.
    fn prune(&mut self) {
        let highest = self.next_sequence() - 1;
        for state in [CopyState::Confirmed, CopyState::Undone] {
            for sequence in self.in_state(state).into_iter().skip(MAX) {
                let name = CopyName { sequence, state }.to_string();
                if sequence != highest && self.folder.remove(&name).is_ok() {
                    self.copies.remove(&sequence);
                }
            }
        }
    }
}

/// Whether `name` is a staged copy that a power cut has left.
fn is_staged(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|name| CopyName::parse(name).is_some())
}
