//! Where copies are kept: a folder, one file for each, which is staged, synced and given its name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use octet_node::durable::{self, ExistingFile};

use crate::copy::{MAX_COPY, StoredCopy};
use crate::name::{CopyName, CopyState};

/// How many confirmed copies are kept, and how many others.
const MAX: usize = 16;

/// What copies are kept in. What returns without an error has survived a cut.
pub trait Folder {
    /// The names in it.
    ///
    /// # Errors
    /// The disk does not give them.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The content of the file `name`.
    ///
    /// # Errors
    /// The disk does not give it.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes the file `name` with this content; at a cut it is there whole, or not.
    ///
    /// # Errors
    /// The disk does not take it.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Gives the file `from` another name; at a cut it has one of the two.
    ///
    /// # Errors
    /// The disk does not take it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the file `name`, sooner or later.
    ///
    /// # Errors
    /// The disk does not take it.
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

/// A folder that is gone with the process, for a box without a data partition.
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
    /// What is in `folder`. A copy that was being tried is undone: nobody has confirmed it, and
    /// whoever could may have been cut off by it.
    ///
    /// # Errors
    /// The disk does not tell what is there.
    pub fn open(folder: F) -> io::Result<(Self, Vec<String>)> {
        let (mut store, mut notes) = (Self { folder, copies: BTreeMap::new() }, vec![]);
        for name in store.folder.list()? {
            match CopyName::parse(&name) {
                Some(name) => {
                    let standing = store.copies.entry(name.sequence).or_insert(name.standing);
                    *standing = name.standing.max(*standing);
                }
                None if is_staged(&name) => drop(store.folder.remove(&name)),
                None => notes.push(format!("`{name}` is not a copy of a configuration")),
            }
        }
        for sequence in store.with(CopyState::Trying) {
            notes.push(format!("configuration {sequence} was not confirmed, so it is undone"));
            if let Err(error) = store.undo(sequence) {
                // It is not in force; the next start tries again.
                notes.push(format!("configuration {sequence}: {error}"));
            }
        }
        Ok((store, notes))
    }

    /// The number that the next copy has.
    pub fn next(&self) -> u64 {
        self.copies.last_key_value().map_or(0, |(sequence, _)| *sequence).saturating_add(1)
    }

    /// All copies, the newest first.
    pub fn all(&self) -> impl Iterator<Item = CopyName> {
        let copies = self.copies.iter().rev();
        copies.map(|(&sequence, &standing)| CopyName { sequence, standing })
    }

    fn with(&self, standing: CopyState) -> Vec<u64> {
        self.all().filter(|name| name.standing == standing).map(|name| name.sequence).collect()
    }

    /// Confirmed copies, the newest first.
    pub fn confirmed(&self) -> Vec<u64> {
        self.with(CopyState::Confirmed)
    }

    /// Reads the copy `sequence`.
    pub fn read(&self, sequence: u64) -> Result<StoredCopy, String> {
        let Some(&standing) = self.copies.get(&sequence) else {
            return Err("there is no such copy".into());
        };
        let name = CopyName { sequence, standing }.to_string();
        let bytes = self.folder.read(&name).map_err(|error| error.to_string())?;
        let copy = StoredCopy::from_bytes(&bytes).map_err(|error| error.to_string())?;
        // A copy that was put in another's place is a replayed one.
        if copy.sequence == sequence { Ok(copy) } else { Err("it has another's name".into()) }
    }

    /// Keeps `copy` as one that is being tried.
    ///
    /// # Errors
    /// Its number is not the next, or the disk does not take it; then nothing has changed.
    pub fn keep(&mut self, copy: &StoredCopy) -> io::Result<()> {
        let (sequence, standing) = (copy.sequence, CopyState::Trying);
        if sequence != self.next() {
            let message = format!("{sequence} is not the next number, {}", self.next());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let name = CopyName { sequence, standing };
        self.folder.write(&name.to_string(), &copy.to_bytes())?;
        self.copies.insert(sequence, standing);
        Ok(())
    }

    /// Keeps the copy that is being tried for good.
    ///
    /// # Errors
    /// The disk does not take it; then it is still being tried.
    pub fn confirm(&mut self, sequence: u64) -> io::Result<()> {
        self.move_to(sequence, CopyState::Confirmed)?;
        self.copies.insert(sequence, CopyState::Confirmed);
        self.prune();
        Ok(())
    }

    /// Gives up the copy that is being tried.
    ///
    /// # Errors
    /// The disk does not take it; then the next start does that.
    pub fn undo(&mut self, sequence: u64) -> io::Result<()> {
        let moved = self.move_to(sequence, CopyState::Undone);
        if moved.is_ok() {
            self.copies.insert(sequence, CopyState::Undone);
            self.prune();
        }
        moved
    }

    fn move_to(&mut self, sequence: u64, standing: CopyState) -> io::Result<()> {
        let from = CopyName { sequence, standing: CopyState::Trying };
        self.folder.rename(&from.to_string(), &CopyName { sequence, standing }.to_string())
    }

    /// Removes what is too old to go back to. The newest stays always: its number must not come
    /// again. What cannot be removed is removed another time.
    fn prune(&mut self) {
        let highest = self.next() - 1;
        for standing in [CopyState::Confirmed, CopyState::Undone] {
            for sequence in self.with(standing).into_iter().skip(MAX) {
                let name = CopyName { sequence, standing }.to_string();
                if sequence != highest && self.folder.remove(&name).is_ok() {
                    self.copies.remove(&sequence);
                }
            }
        }
    }
}

/// Whether `name` is what a cut has left of a copy.
fn is_staged(name: &str) -> bool {
    name.strip_suffix(".new").is_some_and(|name| CopyName::parse(name).is_some())
}
