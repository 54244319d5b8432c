//! The files that a command line names.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Stdin};
use std::os::unix::fs::FileExt;
use std::path::Path;

#[cfg(feature = "cli")]
use super::archive::FolderArchive;
use super::{FileArg, Source};

/// A file as a command line names it.
#[derive(Debug)]
pub enum LocalFile {
    /// A file that can be read at any offset.
    File(File, u64),
    /// Standard input, a pipe or a device: read once, sequentially.
    Stream(ForwardOnly),
    /// A file that was read completely before.
    Memory(Vec<u8>),
    /// A folder, as an archive that is made while it is read.
    #[cfg(feature = "cli")]
    Folder(ForwardOnly, u64),
}

/// A source that can only be read sequentially.
#[derive(Debug)]
pub struct ForwardOnly {
    reader: SequentialReader,
    position: u64,
    /// It has ended. It is not read again: a terminal would return new input.
    has_ended: bool,
}

impl ForwardOnly {
    fn new(reader: SequentialReader) -> Self {
        Self { reader, position: 0, has_ended: false }
    }
}

#[derive(Debug)]
enum SequentialReader {
    Stdin(Stdin),
    File(File),
    #[cfg(feature = "cli")]
    Archive(FolderArchive),
}

impl LocalFile {
    /// Opens a folder as a tar archive.
    ///
    /// # Errors
    /// It cannot be read, or contains something that is neither a file nor a folder.
    #[cfg(feature = "cli")]
    pub fn open_folder(path: &Path) -> io::Result<Self> {
        let archive = FolderArchive::open(path)?;
        let size = archive.size();
        Ok(Self::Folder(ForwardOnly::new(SequentialReader::Archive(archive)), size))
    }

    /// Opens `path`; `-` is standard input.
    pub fn open(path: &str) -> io::Result<Self> {
        if path == "-" {
            return Ok(Self::Stream(ForwardOnly::new(SequentialReader::Stdin(io::stdin()))));
        }
        let mut file = File::open(Path::new(path))?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.is_file() {
            let size = file.seek(SeekFrom::End(0))?;
            return Ok(Self::File(file, size));
        }
        Ok(Self::Stream(ForwardOnly::new(SequentialReader::File(file))))
    }

    /// Reads the whole file into memory, so that exactly the content that is signed now is sent
    /// later.
    ///
    /// # Errors
    /// It cannot be read, or is longer than `max` bytes.
    pub fn read_into_memory(&mut self, max: usize) -> io::Result<&[u8]> {
        let mut bytes = vec![0; max + 1];
        let count = self.read_at(0, &mut bytes)?;
        if count > max {
            let message = format!("a file of more than {max} bytes is not signed");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        bytes.truncate(count);
        *self = Self::Memory(bytes);
        match self {
            Self::Memory(bytes) => Ok(bytes),
            _ => Ok(&[]), // it was just made so
        }
    }
}

impl Source for LocalFile {
    fn describe(&self) -> FileArg {
        let size = match self {
            Self::File(_, size) => Some(*size),
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::Stream(_) => None,
            #[cfg(feature = "cli")]
            Self::Folder(_, size) => Some(*size),
        };
        FileArg { size, sha256: None }
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file, _) => fill(buffer, |rest, done| file.read_at(rest, at + done)),
            Self::Stream(stream) => stream.read_at(at, buffer),
            #[cfg(feature = "cli")]
            Self::Folder(archive, _) => archive.read_at(at, buffer),
            Self::Memory(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let rest = bytes.get(at..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

impl ForwardOnly {
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut skip) = at.checked_sub(self.position) else {
            let message = "a part is wanted that has passed; give a file instead of a stream";
            return Err(io::Error::new(io::ErrorKind::NotSeekable, message));
        };
        while skip > 0 {
            let mut passed = [0; 4096];
            let most = usize::try_from(skip).unwrap_or(usize::MAX).min(passed.len());
            let count = self.read(&mut passed[..most])?;
            if count == 0 {
                return Ok(0);
            }
            skip -= count as u64;
        }
        self.read(buffer)
    }

    /// Reads until `buffer` is full or the stream ends.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_ended {
            return Ok(0);
        }
        let count = fill(buffer, |rest, _| match &mut self.reader {
            SequentialReader::Stdin(stdin) => stdin.read(rest),
            SequentialReader::File(file) => file.read(rest),
            #[cfg(feature = "cli")]
            SequentialReader::Archive(archive) => archive.read(rest),
        })?;
        self.position += count as u64;
        self.has_ended = count < buffer.len();
        Ok(count)
    }
}

/// Fills `buffer` by calls of `read`, which receives the number of bytes so far, until the end of
/// the file.
fn fill(
    buffer: &mut [u8],
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match read(&mut buffer[done..], done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_anywhere_and_streams_forward() {
        let path = std::env::temp_dir().join(format!("octet-source-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let mut file = LocalFile::open(path.to_str().unwrap()).unwrap();
        let mut stream =
            LocalFile::Stream(ForwardOnly::new(SequentialReader::File(File::open(&path).unwrap())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((file.describe().size, stream.describe().size), (Some(10), None));
        let read = |source: &mut LocalFile, at| {
            let mut buffer = [0; 4];
            source.read_at(at, &mut buffer).map(|count| buffer[..count].to_vec())
        };
        for source in [&mut file, &mut stream] {
            assert_eq!(read(source, 1).unwrap(), b"1234");
            assert_eq!(read(source, 7).unwrap(), b"789");
            assert_eq!(read(source, 50).unwrap(), b"");
        }
        assert_eq!(read(&mut file, 0).unwrap(), b"0123");
        assert_eq!(read(&mut stream, 0).unwrap_err().kind(), io::ErrorKind::NotSeekable);
        assert!(LocalFile::open("/").is_err());
        // The content in memory is unchanged, and can be read at any offset.
        assert_eq!(file.read_into_memory(10).unwrap(), b"0123456789");
        assert_eq!(
            (read(&mut file, 7).unwrap(), file.describe().size),
            (b"789".to_vec(), Some(10))
        );
        assert!(file.read_into_memory(9).is_err());
    }

    /// Input after the end belongs to something else.
    #[test]
    fn a_stream_ends_once() {
        let path = std::env::temp_dir().join(format!("octet-stream-{}", std::process::id()));
        std::fs::write(&path, b"0123").unwrap();
        let mut stream = ForwardOnly::new(SequentialReader::File(File::open(&path).unwrap()));
        let mut buffer = [0; 8];
        assert_eq!(stream.read_at(0, &mut buffer).unwrap(), 4);
        std::fs::write(&path, b"0123456789").unwrap();
        std::fs::remove_file(&path).unwrap();
        for at in [4, 8, 100] {
            assert_eq!(stream.read_at(at, &mut buffer).unwrap(), 0, "{at}");
        }
    }
}
