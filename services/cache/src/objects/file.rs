//! The files of an object, read such that what the disk has changed is never taken for content.
//!
//! The kernel verifies what is read of a [sealed](super::seal) file. Of any other file each part is verified against
//! the object's hash, by the hash tree that stands beside it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{ReadAt, valid_ranges};
use bao_tree::{BaoTree, ChunkRanges};
use blake3::Hasher;
use bytes::Bytes;
use iroh_blobs::Hash;
use iroh_blobs::store::IROH_BLOCK_SIZE;
use iroh_blobs::store::fs::options::PathOptions;
use rustix::fs::{Advice, AtFlags, StatxAttributes, StatxFlags, fadvise, statx};
use rustix::io::{Errno, pread};

use super::doubts::Doubts;

/// The unit in which content is verified, in bytes.
pub const GROUP: u64 = 16 << 10;

/// The file of an object.
#[derive(Debug, Clone)]
pub struct ObjectFile(Arc<OpenFile>);

#[derive(Debug)]
struct OpenFile {
    hash: Hash,
    data: Arc<File>,
    /// Verifies what is read; `None` if the kernel does.
    content: Option<ObjectContentFiles>,
    doubts: Doubts,
}

impl ObjectFile {
    /// Opens the file of an object of `size` bytes. With `is_trusted` the disk is taken not to change anything.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(
        paths: &PathOptions,
        (hash, size): (Hash, u64),
        is_trusted: bool,
        doubts: Doubts,
    ) -> io::Result<Self> {
        let content = ObjectContentFiles::open(paths, hash, size)?;
        let data = content.data.clone().ok_or(io::ErrorKind::NotFound)?;
        let is_verified = is_trusted || is_sealed(&data)?;
        let content = (!is_verified).then_some(content);
        Ok(Self(Arc::new(OpenFile { hash, data, content, doubts })))
    }

    /// The file, if whatever the kernel reads of it is the content, or an error.
    pub fn verified(&self) -> Option<&Arc<File>> {
        self.0.content.is_none().then_some(&self.0.data)
    }

    /// Reads a range, and verifies it.
    ///
    /// # Errors
    /// Reading fails, or it is not what the object's author has written.
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let read = match &self.0.content {
            Some(content) => content.read(range),
            None => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                self.0.data.read_exact_at(range.start, &mut bytes).map(|()| bytes.into())
            }
        };
        if read.is_err() {
            self.doubt();
        }
        read
    }

    /// Has the object verified soon, because its file could not be read.
    pub fn doubt(&self) {
        self.0.doubts.add(self.0.hash);
    }
}

/// Whether fs-verity is enabled.
pub fn is_sealed(file: &File) -> io::Result<bool> {
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::VERITY))
}

/// The content of an object and its hash tree, as they are on the disk.
#[derive(Debug)]
pub struct ObjectContentFiles {
    hash: Hash,
    size: u64,
    /// `None` if it is missing.
    data: Option<Arc<File>>,
    /// `None` if it is missing, or the object is too small to have one.
    tree: Option<File>,
}

impl ObjectContentFiles {
    /// # Errors
    /// A file cannot be opened, although it is there.
    pub fn open(paths: &PathOptions, hash: Hash, size: u64) -> io::Result<Self> {
        let data = open_if_there(paths.data_path(&hash))?.map(Arc::new);
        let tree = open_if_there(paths.outboard_path(&hash))?;
        Ok(Self { hash, size, data, tree })
    }

    fn data(&self) -> LenientFile<'_> {
        LenientFile(self.data.as_deref())
    }

    /// The parts of `range` that are what the object's author has written. What cannot be read is not.
    ///
    /// # Errors
    /// Reading fails for another reason than a bad disk.
    pub fn intact(&self, range: Range<u64>) -> io::Result<ChunkRanges> {
        self.verify(range, self.data())
    }

    fn verify(&self, range: Range<u64>, data: impl ReadAt) -> io::Result<ChunkRanges> {
        let tree = BaoTree::new(self.size, IROH_BLOCK_SIZE);
        let outboard = LenientFile(self.tree.as_ref());
        let outboard = PreOrderOutboard { root: self.hash.into(), tree, data: outboard };
        let wanted = chunks(groups(range, self.size));
        let mut intact = ChunkRanges::empty();
        for valid in valid_ranges(outboard, data, &wanted) {
            intact |= ChunkRanges::from(valid?);
        }
        Ok(intact)
    }

    /// Reads a range, and verifies it.
    ///
    /// # Errors
    /// Reading fails, or it is not what the object's author has written.
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let around = groups(range.clone(), self.size);
        let bytes = RefCell::new(vec![0; (around.end - around.start) as usize]);
        let file = self.data.as_deref().ok_or(io::ErrorKind::NotFound)?;
        let data = KeepingFile { file, start: around.start, bytes: &bytes };
        let intact = self.verify(range.clone(), data)?;
        if !intact.is_superset(&chunks(range.clone())) {
            let what = format!("the disk has changed {}", self.hash);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let bytes = Bytes::from(bytes.into_inner());
        Ok(bytes.slice((range.start - around.start) as usize..(range.end - around.start) as usize))
    }

    /// Reads a range as it is; zeros where the disk cannot be read.
    ///
    /// # Errors
    /// Reading fails for another reason than a bad disk.
    pub fn read_unverified(&self, range: Range<u64>) -> io::Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.data().read_exact_at(range.start, &mut bytes)?;
        Ok(bytes.into())
    }

    /// Whether the content as such is intact, although its hash tree may not be.
    ///
    /// # Errors
    /// Reading fails for another reason than a bad disk.
    pub fn is_content_intact(&self) -> io::Result<bool> {
        let (mut hasher, mut at) = (Hasher::new(), 0);
        let mut buffer = vec![0; GROUP as usize];
        while at < self.size {
            let part = &mut buffer[..GROUP.min(self.size - at) as usize];
            self.data().read_exact_at(at, part)?;
            hasher.update(part);
            at += part.len() as u64;
        }
        Ok(Hash::from(hasher.finalize()) == self.hash)
    }

    /// Has the next reader read from the disk.
    pub fn drop_cached(&self) {
        for file in [self.data.as_deref(), self.tree.as_ref()].into_iter().flatten() {
            // It is advice only: pages that are just being written stay.
            let _ = fadvise(file, 0, None::<NonZeroU64>, Advice::DontNeed);
        }
    }
}

fn open_if_there(path: PathBuf) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// A range of bytes as whole units of verification.
fn groups(range: Range<u64>, size: u64) -> Range<u64> {
    range.start / GROUP * GROUP..range.end.next_multiple_of(GROUP).min(size)
}

/// The chunks in which a range of bytes is.
pub fn chunks(range: Range<u64>) -> ChunkRanges {
    use iroh_blobs::protocol::ChunkRangesExt;
    ChunkRanges::bytes(range)
}

/// The ranges of bytes in these chunks of an object of `size` bytes, in order.
pub fn byte_ranges(chunks: &ChunkRanges, size: u64) -> Vec<Range<u64>> {
    let ends = chunks.boundaries().iter().map(|at| at.to_bytes().min(size));
    // The last range may have no end.
    let ends: Vec<u64> = ends.chain([size]).collect();
    ends.chunks_exact(2).map(|pair| pair[0]..pair[1]).filter(|range| !range.is_empty()).collect()
}

/// The number of bytes in these chunks of an object of `size` bytes.
pub fn count_bytes(chunks: &ChunkRanges, size: u64) -> u64 {
    byte_ranges(chunks, size).iter().map(|range| range.end - range.start).sum()
}

/// Reads zeros where the disk cannot be read, and where there is nothing.
#[derive(Clone, Copy)]
struct LenientFile<'a>(Option<&'a File>);

impl ReadAt for LenientFile<'_> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.map_or(Ok(0), |file| pread(file, &mut *buffer, at));
        match read {
            // ext4 says EUCLEAN or EBADMSG if its own data is damaged.
            Ok(0) | Err(Errno::IO | Errno::UCLEAN | Errno::BADMSG) => {
                buffer.fill(0);
                Ok(buffer.len())
            }
            Ok(count) => Ok(count),
            Err(error) => Err(error.into()),
        }
    }
}

/// Keeps what is read, from `start` on.
struct KeepingFile<'a> {
    file: &'a File,
    start: u64,
    bytes: &'a RefCell<Vec<u8>>,
}

impl ReadAt for KeepingFile<'_> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = pread(self.file, &mut *buffer, at)?;
        let from = (at - self.start) as usize;
        self.bytes.borrow_mut()[from..from + count].copy_from_slice(&buffer[..count]);
        Ok(count)
    }
}
