//! State that outlives the daemon until the next boot: files in the unit's tmpfs folder.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::kernel::KernelError;

/// The suffix of an incomplete file.
const PART: &str = ".part";

#[derive(Debug)]
pub struct StateFolder(PathBuf);

impl StateFolder {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Persists `bytes` under `name`, atomically. A power cut deletes the whole folder, so nothing is synced.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.0.join(format!("{name}{PART}"));
        fs::write(&part, bytes)?;
        fs::rename(part, self.0.join(name))
    }

    /// Persists bytes for the next daemon.
    pub fn persist(&self, name: &str, bytes: &[u8]) -> Result<(), KernelError> {
        self.put(name, bytes).map_err(KernelError::to(format!("keep {name}")))
    }

    /// Deletes what the next daemon is not to find.
    pub fn erase(&self, name: &str) -> Result<(), KernelError> {
        self.forget(name).map_err(KernelError::to(format!("forget {name}")))
    }

    /// The bytes that are persisted under `name`.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.0.join(name)).ok()
    }

    /// Deletes what is persisted under `name`.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All names. Incomplete files are deleted.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut found = vec![];
        for entry in fs::read_dir(&self.0)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.ends_with(PART) {
                self.forget(&name)?;
            } else {
                found.push(name);
            }
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let memory = StateFolder::new(folder.path().into());
        memory.put("b", b"one").unwrap();
        memory.put("b", b"two").unwrap();
        memory.put("a", b"").unwrap();
        fs::write(folder.path().join("c.part"), "half").unwrap();
        assert_eq!(memory.names().unwrap(), ["a", "b"]);
        assert_eq!(memory.get("b").unwrap(), b"two");
        memory.forget("b").unwrap();
        memory.forget("b").unwrap();
        assert_eq!(memory.names().unwrap(), ["a"]);
        assert_eq!(memory.get("c.part"), None);
    }
}
