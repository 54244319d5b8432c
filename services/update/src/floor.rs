//! The persisted floor, which outlives the slots that raised it.

use std::fs;
use std::io;
use std::path::PathBuf;

use octet_node::durable;

/// The file of the floor: a number and a newline.
#[derive(Debug, Clone)]
pub struct Floor {
    folder: Option<PathBuf>,
}

impl Floor {
    /// The floor in `folder`; without one nothing is persisted.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The persisted floor; 0 if there is none.
    ///
    /// # Errors
    /// The file cannot be read or parsed: the floor is unknown then, and no update may be
    /// installed.
    pub fn read(&self) -> io::Result<u64> {
        let Some(path) = self.path() else { return Ok(0) };
        match fs::read_to_string(&path) {
            Ok(text) => text.trim_end().parse().map_err(|error| {
                io::Error::other(format!("{}: {error}; remove it if it is damaged", path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Raises the floor to `floor`, if that is higher; the file is replaced atomically.
    pub fn raise(&self, floor: u64) -> io::Result<()> {
        if floor <= self.read()? {
            return Ok(());
        }
        let Some(path) = self.path() else { return Ok(()) };
        durable::replace(&path, format!("{floor}\n").as_bytes())
    }

    fn path(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("floor"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rises() {
        let folder = tempfile::tempdir().unwrap();
        let floor = Floor::new(Some(folder.path().to_owned()));
        assert_eq!(floor.read().unwrap(), 0);
        for (raised, read) in [(7, 7), (3, 7), (8, 8)] {
            floor.raise(raised).unwrap();
            assert_eq!(floor.read().unwrap(), read);
        }
        // A temporary file that a power failure has left changes nothing.
        fs::write(folder.path().join("floor.new"), "9").unwrap();
        assert_eq!(floor.read().unwrap(), 8);
        fs::write(folder.path().join("floor"), "").unwrap();
        assert!(floor.read().is_err() && floor.raise(9).is_err());
        assert_eq!(Floor::new(None).read().unwrap(), 0);
    }
}
