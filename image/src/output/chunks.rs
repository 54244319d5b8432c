//! A file of a slot as chunks that are cut where its content says so (FastCDC).
//!
//! A program that grows by a page moves all that lies behind it. Chunks of a fixed size would all be
//! new then; these are new around the change only. What is compressed before it is cut (the kernel,
//! most of the root file system) changes in whole blocks of at most 128 KiB.

use fastcdc::v2020::FastCDC;
use octet_bundle::{ChunkedFile, Digest, FileChunk, MAX_CHUNK};

/// Bytes of the smallest chunk and of a usual one. A quarter of that sends a tenth less of a small
/// change, and makes the manifest, which is always sent, four times as long.
const MIN_CHUNK: usize = 4 << 10;
const AVERAGE_CHUNK: usize = 16 << 10;

/// `content` as chunks.
pub fn file(content: &[u8]) -> ChunkedFile {
    let cut = FastCDC::new(content, MIN_CHUNK, AVERAGE_CHUNK, MAX_CHUNK as usize);
    let chunks = cut.map(|part| FileChunk::plain(&content[part.offset..part.offset + part.length]));
    let chunks = chunks.collect();
    ChunkedFile { size: content.len() as u64, sha256: Digest::of(content), chunks }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_put_in_changes_what_is_around_it() {
        let mut state = 1u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        let old: Vec<u8> = (0..2_000_000).map(|_| next()).collect();
        let new = [&old[..700_000], b"something new", &old[700_000..]].concat();
        let known: BTreeSet<_> = file(&old).chunks.iter().map(|chunk| chunk.sha256).collect();
        let cut = file(&new);
        let sum: u64 = cut.chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
        assert_eq!((sum, cut.size), (new.len() as u64, new.len() as u64));
        let fresh = cut.chunks.iter().filter(|chunk| !known.contains(&chunk.sha256)).count();
        assert!(
            cut.chunks.len() > 50 && (1..=3).contains(&fresh),
            "{fresh} of {}",
            cut.chunks.len()
        );
        assert_eq!(file(b"").chunks, []);
    }
}
