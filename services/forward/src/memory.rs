//! What outlives the daemon until the next boot: files in the unit's folder in memory.

use std::fs;
use std::io;
use std::path::PathBuf;

/// What the name of a file that is not whole yet ends with.
const PART: &str = ".part";

#[derive(Debug)]
pub struct StateFolder(PathBuf);

impl StateFolder {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Keeps `bytes` under `name`: all of them, or what was there before. A power cut takes the folder with it,
    /// so nothing is synchronised.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.0.join(format!("{name}{PART}"));
        fs::write(&part, bytes)?;
        fs::rename(part, self.0.join(name))
    }

    /// What is kept under `name`.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.0.join(name)).ok()
    }

    /// Nothing is kept under `name` any more.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The names under which something is kept. What was not whole is removed.
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
