//! Assembles a file of the new slot chunk by chunk, from existing slots or from the bundle.

use std::collections::HashMap;

use octet_bundle::{ChunkPosition, ChunkedFile, Digest, FileChunk, Hasher, MAX_CHUNK};
use octet_esp::contents::EspContents;
use octet_esp::medium::Medium;
use octet_node::control::Failure;
use ruzstd::decoding::FrameDecoder;

use crate::install::{InstallCounts, damaged, failed};
use crate::source::BundleReader;

/// The maximum window of a zstd frame, in bytes; the frame itself could claim more.
const WINDOW: u64 = 128 << 10;

/// The chunks on the box, with their places. Each is verified before it is used.
#[derive(Debug, Default)]
pub struct KnownChunks {
    files: Vec<String>,
    chunks: HashMap<Digest, (usize, u64, u32)>,
}

impl KnownChunks {
    /// The chunks of all slots in `present` that remain without the files in `gone`.
    pub fn of(present: &EspContents, gone: &[String]) -> Self {
        let mut known = Self::default();
        for slot in &present.slots {
            let Some(manifest) = &slot.manifest else { continue };
            for (kind, file) in manifest.files.all() {
                let Some(path) = slot.path(kind) else { continue };
                if present.files.get(path) == Some(&file.size) && !gone.contains(path) {
                    known.add(path, file);
                }
            }
        }
        known
    }

    fn add(&mut self, path: &str, file: &ChunkedFile) {
        let number = self.files.len();
        self.files.push(path.to_owned());
        for ChunkPosition { at, chunk, .. } in file.positions() {
            self.chunks.entry(chunk.sha256).or_insert((number, at, chunk.size));
        }
    }

    /// Reads `chunk`, if it is on the box and intact.
    fn read(&self, medium: &impl Medium, chunk: FileChunk) -> Option<Vec<u8>> {
        let (file, at, size) = self.chunks.get(&chunk.sha256)?;
        let mut bytes = vec![0; *size as usize];
        medium.read_at(&self.files[*file], *at, &mut bytes).ok()?;
        (*size == chunk.size && Digest::of(&bytes) == chunk.sha256).then_some(bytes)
    }
}

/// Writes `file`, which begins at offset `start` of the bundle, to `path`.
///
/// # Errors
/// The bundle does not match its signature, or writing fails.
pub fn assemble(
    medium: &mut impl Medium,
    source: &mut impl BundleReader,
    known: &KnownChunks,
    (file, path, start): (&ChunkedFile, &str, u64),
    counts: &mut InstallCounts,
) -> Result<(), Failure> {
    medium.create(path).map_err(failed(path))?;
    let mut hasher = Hasher::default();
    let mut missing = Missing::default();
    for ChunkPosition { stored_at, chunk, .. } in file.positions() {
        let there = known.read(medium, chunk);
        if there.is_some() || missing.stored + chunk.stored > MAX_CHUNK {
            for bytes in missing.fetch(source, start, counts)? {
                hasher.add(&bytes);
                medium.append(path, &bytes).map_err(failed(path))?;
            }
        }
        match there {
            Some(bytes) => {
                counts.copied += bytes.len() as u64;
                hasher.add(&bytes);
                medium.append(path, &bytes).map_err(failed(path))?;
            }
            None => missing.add(stored_at, chunk),
        }
    }
    for bytes in missing.fetch(source, start, counts)? {
        hasher.add(&bytes);
        medium.append(path, &bytes).map_err(failed(path))?;
    }
    if hasher.finish() == file.sha256 { Ok(()) } else { Err(damaged(path)) }
}

/// Contiguous chunks of the bundle, which are requested together.
#[derive(Debug, Default)]
struct Missing {
    at: u64,
    stored: u32,
    chunks: Vec<FileChunk>,
}

impl Missing {
    fn add(&mut self, at: u64, chunk: FileChunk) {
        if self.chunks.is_empty() {
            self.at = at;
        }
        self.stored += chunk.stored;
        self.chunks.push(chunk);
    }

    /// Fetches the chunks, and clears the list.
    fn fetch(
        &mut self,
        source: &mut impl BundleReader,
        start: u64,
        counts: &mut InstallCounts,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let missing = std::mem::take(self);
        if missing.chunks.is_empty() {
            return Ok(vec![]);
        }
        let bytes = source.read(start + missing.at, missing.stored)?;
        counts.received += bytes.len() as u64;
        let mut rest = bytes.as_slice();
        let mut taken = vec![];
        for chunk in missing.chunks {
            let part = rest.split_off(..chunk.stored as usize).and_then(|it| unpack(it, chunk));
            taken.push(part.ok_or_else(|| damaged("the update"))?);
        }
        Ok(taken)
    }
}

/// Decompresses and verifies `chunk`, of which the bundle has the bytes `stored`.
fn unpack(stored: &[u8], chunk: FileChunk) -> Option<Vec<u8>> {
    let bytes = if chunk.stored == chunk.size {
        stored.to_vec()
    } else {
        let mut bytes = vec![0; chunk.size as usize];
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        let count = decoder.decode_all(stored, &mut bytes).ok()?;
        (count == bytes.len()).then_some(bytes)?
    };
    (Digest::of(&bytes) == chunk.sha256).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    proptest! {
        #[test]
        fn what_was_packed_and_nothing_else(text in "[a-f]{200,800}", at: prop::sample::Index, bit in 0..8u8) {
            let mut stored = compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
            let chunk = FileChunk { stored: stored.len() as u32, ..FileChunk::plain(text.as_bytes()) };
            prop_assume!(chunk.stored < chunk.size);
            let unpacked = unpack(&stored, chunk);
            prop_assert_eq!(unpacked.as_deref(), Some(text.as_bytes()));
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            let damaged = unpack(&stored, chunk);
            prop_assert!(damaged.is_none_or(|bytes| bytes == text.as_bytes()));
        }

        #[test]
        fn never_panics(stored in prop::collection::vec(any::<u8>(), 1..100), size in 1..2000u32) {
            let chunk = FileChunk { size, stored: stored.len() as u32, sha256: Digest::of(b"") };
            unpack(&stored, chunk);
            unpack(&[&[0x28, 0xb5, 0x2f, 0xfd][..], &stored].concat(), chunk);
        }
    }
}
