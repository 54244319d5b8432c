//! Makes a file of the new slot by patching one of another slot: effective for small changes that
//! move much of the content, such as relinking a program.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};

use octet_bundle::{ChunkedFile, Hasher, MAX_CHUNK, PATCH_WINDOW, Patch};
use octet_esp::medium::Medium;
use octet_node::control::Failure;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::install::{damaged, failed};
use crate::source::BundleReader;

/// Makes `file` at `path` by applying `patch`, at offset `start` of the bundle, to the file at
/// `old` of `old_size` bytes.
///
/// # Errors
/// The patch or the old file is invalid, or the sender has disconnected.
pub fn make<M: Medium>(
    medium: &mut M,
    source: &mut impl BundleReader,
    (patch, start): (&Patch, u64),
    (old, old_size): (&str, u64),
    (file, path): (&ChunkedFile, &str),
) -> Result<(), Failure> {
    medium.create(path).map_err(failed(path))?;
    let medium = RefCell::new(medium);
    let mut sent =
        PatchReader { source, at: start, left: patch.stored, piece: vec![], failure: None };
    let made = run(
        &medium,
        &mut sent,
        OldFileReader { medium: &medium, path: old, size: old_size, at: 0 },
        file,
        path,
    );
    match (sent.failure, made) {
        (Some(gone), _) => Err(gone),
        (None, Ok(true)) => Ok(()),
        (None, Ok(false)) => Err(damaged(path)),
        (None, Err(error)) => Err(failed(path)(error)),
    }
}

/// Whether the result is `file`.
fn run<M: Medium>(
    medium: &RefCell<&mut M>,
    sent: impl Read,
    old: OldFileReader<'_, '_, M>,
    file: &ChunkedFile,
    path: &str,
) -> io::Result<bool> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(PATCH_WINDOW);
    let unpacked = StreamingDecoder::new_with_decoder(sent, decoder).map_err(io::Error::other)?;
    let mut new = bipatch::Reader::new(unpacked, old).map_err(io::Error::other)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; MAX_CHUNK as usize];
    let mut left = file.size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let count = new.read(&mut piece[..most])?;
        if count == 0 {
            break;
        }
        left -= count as u64;
        hasher.add(&piece[..count]);
        medium.borrow_mut().append(path, &piece[..count])?;
    }
    Ok(left == 0 && hasher.finish() == file.sha256)
}

/// The patch, read while it is received.
struct PatchReader<'a, S> {
    source: &'a mut S,
    at: u64,
    left: u32,
    piece: Vec<u8>,
    failure: Option<Failure>,
}

impl<S: BundleReader> Read for PatchReader<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && self.left > 0 {
            let length = self.left.min(MAX_CHUNK);
            self.piece = self.source.read(self.at, length).map_err(|failure| {
                self.failure = Some(failure);
                io::Error::other("it did not come")
            })?;
            self.at += u64::from(length);
            self.left -= length;
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece[..count]);
        self.piece.drain(..count);
        Ok(count)
    }
}

struct OldFileReader<'a, 'm, M> {
    medium: &'a RefCell<&'m mut M>,
    path: &'a str,
    size: u64,
    at: u64,
}

impl<M: Medium> Read for OldFileReader<'_, '_, M> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        if count > 0 {
            self.medium.borrow().read_at(self.path, self.at, &mut buffer[..count])?;
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl<M> Seek for OldFileReader<'_, '_, M> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
