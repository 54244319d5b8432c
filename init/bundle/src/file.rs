//! Files of a slot, split into chunks.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Maximum chunk size in bytes: what a box requests and holds of a file at once.
pub const MAX_CHUNK: u32 = 64 << 10;

/// Maximum size of a slot's file in bytes. Three slots have to fit the EFI system partition.
pub const MAX_FILE: u64 = 84 << 20;

/// Maximum number of chunks of one file.
const MAX_CHUNKS: usize = 16 << 10;

/// A file as a list of chunks. Chunk boundaries depend on the content, so inserted or removed bytes
/// change only the chunks around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkedFile {
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its content.
    pub sha256: Digest,
    pub chunks: Vec<FileChunk>,
}

/// A chunk of a file, written as `SIZE SHA256`, or `SIZE STORED SHA256` if it is compressed in the
/// bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileChunk {
    /// Its size in bytes, 1 to [`MAX_CHUNK`].
    pub size: u32,
    /// Its size in the bundle in bytes, 1 to `size`. If it is smaller, the data is one frame of
    /// zstd (RFC 8878).
    pub stored: u32,
    /// The digest of its content.
    pub sha256: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPosition {
    /// Its offset in the file.
    pub at: u64,
    /// Its offset in the bundle, relative to the file's part there.
    pub stored_at: u64,
    pub chunk: FileChunk,
}

impl ChunkedFile {
    /// Checks that sizes and chunks are consistent.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.size > MAX_FILE {
            return Err("a file is too large");
        }
        if self.chunks.len() > MAX_CHUNKS {
            return Err("a file has too many chunks");
        }
        let total: u64 = self.chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
        if total != self.size {
            return Err("the chunks of a file are not as long as the file");
        }
        Ok(())
    }

    /// Its chunks with their offsets.
    pub fn positions(&self) -> impl Iterator<Item = ChunkPosition> + '_ {
        self.chunks.iter().scan((0, 0), |(at, stored_at), chunk| {
            let place = ChunkPosition { at: *at, stored_at: *stored_at, chunk: *chunk };
            *at += u64::from(chunk.size);
            *stored_at += u64::from(chunk.stored);
            Some(place)
        })
    }

    /// Its size in the bundle in bytes.
    pub fn stored(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.stored)).sum()
    }
}

impl FileChunk {
    /// An uncompressed chunk.
    pub fn plain(bytes: &[u8]) -> Self {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { size, stored: size, sha256: Digest::of(bytes) }
    }
}

impl TryFrom<String> for FileChunk {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const CHUNK_FORMAT: &str = "a chunk is its size, 1 to 65536, where it is compressed the smaller size \
                            that it has then, and its SHA-256";
        let (sizes, sha256) = text.rsplit_once(' ').ok_or(CHUNK_FORMAT)?;
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
            plain.then(|| text.parse::<u32>().ok()).flatten().ok_or(CHUNK_FORMAT)
        };
        let (size, stored) = match sizes.split_once(' ') {
            Some((size, stored)) => (number(size)?, number(stored)?),
            None => (number(sizes)?, number(sizes)?),
        };
        let is_smaller = stored < size || !sizes.contains(' ');
        if !(1..=MAX_CHUNK).contains(&size) || !is_smaller {
            return Err(CHUNK_FORMAT);
        }
        Ok(Self { size, stored, sha256: sha256.parse().map_err(|_| CHUNK_FORMAT)? })
    }
}

impl From<FileChunk> for String {
    fn from(chunk: FileChunk) -> String {
        let FileChunk { size, stored, sha256 } = chunk;
        if stored < size { format!("{size} {stored} {sha256}") } else { format!("{size} {sha256}") }
    }
}
