//! A folder as a tar archive, which is made while it is read.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::vec;

use tar::{Builder, Header};

/// The size of a block of an archive, in bytes.
const BLOCK: u64 = 512;

/// The maximum depth of folders within a folder.
const MAX_DEPTH: usize = 64;

/// The archive of all files of a folder, in the order of their paths.
#[derive(Debug)]
pub struct FolderArchive {
    entries: vec::IntoIter<ArchivedFile>,
    /// What is left of the current entry: its header, and its content with the rest of its last block.
    header: Cursor<Vec<u8>>,
    content: Option<Content>,
    /// The whole size in bytes.
    size: u64,
    has_ended: bool,
}

#[derive(Debug)]
struct ArchivedFile {
    path: String,
    file: PathBuf,
    /// In bytes.
    size: u64,
}

#[derive(Debug)]
struct Content {
    file: File,
    path: PathBuf,
    left: u64,
    padding: u64,
}

impl FolderArchive {
    /// Looks at all files of the folder, so that what cannot be sent is known before anything is.
    ///
    /// # Errors
    /// It cannot be read, or contains something that is neither a file nor a folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut entries = vec![];
        collect(folder, "", 0, &mut entries)?;
        entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        let mut size = 2 * BLOCK;
        for entry in &entries {
            size += header(entry)?.len() as u64 + entry.size.next_multiple_of(BLOCK);
        }
        let entries = entries.into_iter();
        Ok(Self { entries, header: Cursor::default(), content: None, size, has_ended: false })
    }

    /// The size of the archive in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Goes on to the next entry, or to the end of the archive.
    fn advance(&mut self) -> io::Result<()> {
        let Some(entry) = self.entries.next() else {
            self.header = Cursor::new(vec![0; 2 * BLOCK as usize]);
            self.has_ended = true;
            return Ok(());
        };
        self.header = Cursor::new(header(&entry)?);
        let file = File::open(&entry.file).map_err(|error| at(&entry.file, &error))?;
        let padding = entry.size.next_multiple_of(BLOCK) - entry.size;
        self.content = Some(Content { file, path: entry.file, left: entry.size, padding });
        Ok(())
    }
}

impl Read for FolderArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.header.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match &mut self.content {
                Some(content) => match content.read(buffer)? {
                    0 => self.content = None,
                    count => return Ok(count),
                },
                None if self.has_ended => return Ok(0),
                None => self.advance()?,
            }
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let of = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if self.left == 0 {
            let count = of(self.padding);
            buffer[..count].fill(0);
            self.padding -= count as u64;
            return Ok(count);
        }
        let count = of(self.left);
        let count = self.file.read(&mut buffer[..count]).map_err(|error| at(&self.path, &error))?;
        if count == 0 {
            let shorter = io::Error::other("it has become shorter meanwhile");
            return Err(at(&self.path, &shorter));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// The header of an entry, with another one before it if the path is long. What differs between two copies of a folder,
/// such as owners and dates, is left out.
fn header(entry: &ArchivedFile) -> io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_size(entry.size);
    header.set_mode(0o644);
    let mut archive = Builder::new(vec![]);
    archive.append_data(&mut header, &entry.path, io::empty())?;
    // Without the end of the archive.
    Ok(archive.get_ref().clone())
}

/// Finds the files below `folder`, whose paths begin with `prefix`.
fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<ArchivedFile>,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(at(folder, &io::Error::other("it is too deep within the folder")));
    }
    for entry in fs::read_dir(folder).map_err(|error| at(folder, &error))? {
        let entry = entry.map_err(|error| at(folder, &error))?;
        let file = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(at(&file, &io::Error::other("its name is not UTF-8")));
        };
        let path = format!("{prefix}{name}");
        // A symbolic link is not followed: it may lead anywhere.
        let metadata = fs::symlink_metadata(&file).map_err(|error| at(&file, &error))?;
        if metadata.is_dir() {
            collect(&file, &format!("{path}/"), depth + 1, found)?;
        } else if metadata.is_file() {
            found.push(ArchivedFile { path, file, size: metadata.len() });
        } else {
            return Err(at(&file, &io::Error::other("it is neither a file nor a folder")));
        }
    }
    Ok(())
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// The paths and contents that another reader finds in the archive of `folder`.
    fn read(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut archive = FolderArchive::open(folder).unwrap();
        let (size, mut bytes) = (archive.size(), vec![]);
        archive.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, size);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = vec![];
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = vec![];
            entry.read_to_end(&mut content).unwrap();
            found.push((entry.path().unwrap().to_str().unwrap().to_owned(), content));
        }
        found
    }

    fn write(folder: &TempDir, path: &str, content: &[u8]) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn another_reader_finds_all_files_in_order() {
        let folder = TempDir::new().unwrap();
        let long = format!("{0}/{0}/ä {0}", "x".repeat(90));
        let mut wanted = vec![];
        for (path, length) in [("b", 0), ("a/c", 1), ("a/b", 512), ("a-b", 513), (&*long, 70_000)] {
            write(&folder, path, &vec![7; length]);
            wanted.push((path.to_owned(), vec![7; length]));
        }
        fs::create_dir(folder.path().join("empty")).unwrap();
        wanted.sort();
        assert_eq!(read(folder.path()), wanted);
    }

    #[test]
    fn what_is_no_file_and_no_folder_is_refused() {
        let folder = TempDir::new().unwrap();
        write(&folder, "a/b", b"1");
        assert!(FolderArchive::open(folder.path()).is_ok());
        symlink("/etc/passwd", folder.path().join("a/link")).unwrap();
        let refused = FolderArchive::open(folder.path()).unwrap_err().to_string();
        assert!(refused.ends_with("a/link: it is neither a file nor a folder"), "{refused}");
    }

    #[test]
    fn a_file_that_becomes_shorter_ends_it() {
        let folder = TempDir::new().unwrap();
        write(&folder, "a", &[1; 1000]);
        let mut archive = FolderArchive::open(folder.path()).unwrap();
        write(&folder, "a", &[1; 999]);
        let refused = archive.read_to_end(&mut vec![]).unwrap_err().to_string();
        assert!(refused.ends_with("a: it has become shorter meanwhile"), "{refused}");
    }
}
