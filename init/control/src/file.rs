//! Files as arguments: the unit that was asked says which part of the file it wants, and only then
//! does the client send it.
//!
//! So nobody on the way holds more than one such part: not the unit, not PID 1 that hands it on.
//! A unit that is busy does not ask, and one that knows a part already never does.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Stdin};
use std::os::unix::fs::FileExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::message::{Failure, FailureCode};

/// The most that one chunk carries, in bytes: as base64 it fits a request's frame.
pub const MAX_CHUNK: usize = 8 << 10;

/// The most that a unit may want at once, in bytes: as frames it fits the buffer of a socket, so
/// that PID 1 never finds one full that is read.
pub const MAX_WANT: u32 = 64 << 10;

/// The argument by which a unit that says where in a file something is wrong is told what to call it.
pub const CALLED: &str = "called";

/// What stands for a file among the arguments of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileArg {
    /// How long it is in bytes, where the client knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its SHA-256 in hexadecimal, where somebody has signed the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The part of the file that a unit wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// Where it begins, in bytes. A client that reads a pipe can only go forward.
    pub at: u64,
    /// How long it is, 1 to [`MAX_WANT`] bytes.
    pub length: u32,
}

/// Bytes of a file, [`MAX_CHUNK`] at most; none at the end of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Chunk(Vec<u8>);

/// Text that is not a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk is base64 with padding, of at most {MAX_CHUNK} bytes")]
pub struct InvalidChunk;

impl Chunk {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Chunk {
    type Error = InvalidChunk;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidChunk> {
        if bytes.len() > MAX_CHUNK { Err(InvalidChunk) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Chunk {
    type Error = InvalidChunk;

    fn try_from(text: String) -> Result<Self, InvalidChunk> {
        STANDARD.decode(text).map_err(|_| InvalidChunk)?.try_into()
    }
}

impl From<Chunk> for String {
    fn from(chunk: Chunk) -> String {
        STANDARD.encode(chunk.0)
    }
}

/// A part of the file on the side of the unit: from what it wanted to what came.
#[derive(Debug)]
pub struct Intake {
    want: Want,
    bytes: Vec<u8>,
}

impl Intake {
    /// Begins with what is wanted, of which at most [`MAX_WANT`] bytes are asked for.
    pub fn new(at: u64, length: u32) -> Self {
        Self { want: Want { at, length: length.clamp(1, MAX_WANT) }, bytes: vec![] }
    }

    /// What to ask the client for.
    pub fn want(&self) -> Want {
        self.want
    }

    /// Takes one chunk. Returns the whole part once it is there; one that is shorter than what was
    /// asked for is the end of the file.
    ///
    /// # Errors
    /// The client sends what was not asked for.
    pub fn take(&mut self, chunk: &Chunk) -> Result<Option<Vec<u8>>, Failure> {
        let wanted = self.want.length as usize;
        if self.bytes.len() + chunk.bytes().len() > wanted {
            let message = "more of the file came than was asked for";
            let help = "answer each `want` with as many bytes as it says";
            return Err(Failure::new(FailureCode::BadRequest, message, help));
        }
        self.bytes.extend_from_slice(chunk.bytes());
        let complete = chunk.bytes().is_empty() || self.bytes.len() == wanted;
        Ok(complete.then(|| std::mem::take(&mut self.bytes)))
    }
}

/// A file on the side of the client.
pub trait Source {
    /// What stands for it in the request.
    fn describe(&self) -> FileArg;

    /// Reads what is at `at`, in bytes, into `buffer`; less than fits only at the end of the file.
    ///
    /// # Errors
    /// It cannot be read, or not there.
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A file as a command line names it.
#[derive(Debug)]
pub enum LocalFile {
    /// One that can be read anywhere.
    File(File, u64),
    /// Standard input, a pipe, a device: read once, from its beginning to its end.
    Stream(Stream),
    /// One that was read whole before.
    Held(Vec<u8>),
}

/// What can only be read forward.
#[derive(Debug)]
pub struct Stream {
    from: Forward,
    position: u64,
}

#[derive(Debug)]
enum Forward {
    Stdin(Stdin),
    File(File),
}

impl LocalFile {
    /// Opens `path`; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &str) -> io::Result<Self> {
        if path == "-" {
            return Ok(Self::Stream(Stream { from: Forward::Stdin(io::stdin()), position: 0 }));
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
        Ok(Self::Stream(Stream { from: Forward::File(file), position: 0 }))
    }

    /// Reads the whole of it, so that what is sent later is what was looked at now.
    ///
    /// # Errors
    /// It cannot be read, or is longer than `longest` bytes.
    pub fn hold(&mut self, longest: usize) -> io::Result<&[u8]> {
        let mut bytes = vec![0; longest + 1];
        let count = self.read_at(0, &mut bytes)?;
        if count > longest {
            let message = format!("a file of more than {longest} bytes is not signed");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        bytes.truncate(count);
        *self = Self::Held(bytes);
        match self {
            Self::Held(bytes) => Ok(bytes),
            _ => Ok(&[]), // it was just made so
        }
    }
}

impl Source for LocalFile {
    fn describe(&self) -> FileArg {
        let size = match self {
            Self::File(_, size) => Some(*size),
            Self::Held(bytes) => Some(bytes.len() as u64),
            Self::Stream(_) => None,
        };
        FileArg { size, sha256: None }
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file, _) => fill(buffer, |rest, done| file.read_at(rest, at + done)),
            Self::Stream(stream) => stream.read_at(at, buffer),
            Self::Held(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let rest = bytes.get(at..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

impl Stream {
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
        let count = fill(buffer, |rest, _| match &mut self.from {
            Forward::Stdin(stdin) => stdin.read(rest),
            Forward::File(file) => file.read(rest),
        })?;
        self.position += count as u64;
        Ok(count)
    }
}

/// Has `read` fill `buffer`, of which it is told how much is done, up to the end of the file.
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
    use proptest::prelude::*;

    fn chunk(bytes: &[u8]) -> Chunk {
        Chunk::try_from(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_part_is_complete_or_the_end() {
        let mut intake = Intake::new(7, 5);
        assert_eq!(intake.want(), Want { at: 7, length: 5 });
        assert_eq!(intake.take(&chunk(b"abc")).unwrap(), None);
        assert_eq!(intake.take(&chunk(b"de")).unwrap(), Some(b"abcde".to_vec()));

        let mut at_end = Intake::new(0, 5);
        assert_eq!(at_end.take(&chunk(b"abc")).unwrap(), None);
        assert_eq!(at_end.take(&chunk(b"")).unwrap(), Some(b"abc".to_vec()));

        let mut too_much = Intake::new(0, 5);
        assert!(too_much.take(&chunk(b"abcdef")).is_err());
        assert_eq!(Intake::new(0, u32::MAX).want().length, MAX_WANT);
    }

    #[test]
    fn files_are_read_anywhere_and_streams_forward() {
        let path = std::env::temp_dir().join(format!("octet-source-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let mut file = LocalFile::open(path.to_str().unwrap()).unwrap();
        let stream = Stream { from: Forward::File(File::open(&path).unwrap()), position: 0 };
        let mut stream = LocalFile::Stream(stream);
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
        // What is held is as it was, and can be read anywhere.
        assert_eq!(file.hold(10).unwrap(), b"0123456789");
        assert_eq!(
            (read(&mut file, 7).unwrap(), file.describe().size),
            (b"789".to_vec(), Some(10))
        );
        assert!(file.hold(9).is_err());
    }

    proptest! {
        #[test]
        fn chunks_come_out_as_they_went_in(bytes in prop::collection::vec(any::<u8>(), 0..=MAX_CHUNK)) {
            let json = serde_json::to_string(&chunk(&bytes)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Chunk>(&json).unwrap(), chunk(&bytes));
        }

        #[test]
        fn never_panics(text in "\\PC*", length: u32) {
            let _ = Chunk::try_from(text.clone());
            let _ = Intake::new(0, length).take(&chunk(text.as_bytes()));
        }
    }

    #[test]
    fn a_chunk_is_bounded() {
        assert!(Chunk::try_from(STANDARD.encode(vec![0; MAX_CHUNK])).is_ok());
        assert!(Chunk::try_from(STANDARD.encode(vec![0; MAX_CHUNK + 1])).is_err());
        for bad in ["=", "a", "YQ", "YQ==\n", "Y Q=="] {
            assert!(Chunk::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
