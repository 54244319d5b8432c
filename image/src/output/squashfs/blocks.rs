//! Blocks, compressed each for itself.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use backhand::compression::{CompressionAction, Compressor};
use backhand::{BackhandError, FilesystemCompressor, SuperBlock};
use zstd::bulk;

use super::{SquashfsError, io_error};
use crate::digest::{FieldHasher, Sha256};
use crate::output::file;
use crate::steps::Step;

/// A compressor that first only collects what it is asked to compress, and knows the answers when
/// it is asked again.
pub struct Blocks {
    level: i32,
    state: Mutex<State>,
}

struct State {
    /// Blocks to compress; `None` once that is done.
    pending: Option<BTreeMap<Sha256, Vec<u8>>>,
    compressed: BTreeMap<Sha256, Vec<u8>>,
}

impl Blocks {
    /// None yet; they will be compressed at zstd's `level`.
    pub fn new(level: i32) -> Self {
        let state = State { pending: Some(BTreeMap::new()), compressed: BTreeMap::new() };
        Self { level, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compresses what was collected, except what the file `cache_file` has from before, and keeps the
    /// answers there.
    pub fn compress(&self, cache_file: &Path, step: &Step) -> Result<(), SquashfsError> {
        let pending = self.state().pending.take().unwrap_or_default();
        let mut compressed = read(cache_file, self.level).unwrap_or_default();
        compressed.retain(|key, _| pending.contains_key(key));
        let missing: Vec<_> =
            pending.iter().filter(|(key, _)| !compressed.contains_key(*key)).collect();
        step.total(missing.len() as u64);
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(Sha256, Vec<u8>)>, BackhandError> {
            let mut done = vec![];
            while let Some((key, bytes)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((**key, bulk::compress(bytes, self.level)?));
                step.advance();
            }
            Ok(done)
        };
        let count = thread::available_parallelism().map_or(1, NonZero::get).min(missing.len());
        let results: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        for result in results {
            let ended = |_| io_error(std::io::Error::other("a thread that compresses has ended"));
            compressed.extend(result.map_err(ended)??);
        }
        if !missing.is_empty() {
            file::write(cache_file, &render(&compressed, self.level))?;
        }
        self.state().compressed = compressed;
        Ok(())
    }
}

impl CompressionAction for Blocks {
    type Compressor = Compressor;
    type FilesystemCompressor = FilesystemCompressor;
    type SuperBlock = SuperBlock;
    type Error = BackhandError;

    fn decompress(
        &self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        _: Compressor,
    ) -> Result<(), BackhandError> {
        *out = bulk::decompress(bytes, out.capacity())?;
        Ok(())
    }

    fn compress(
        &self,
        bytes: &[u8],
        _: FilesystemCompressor,
        _: u32,
    ) -> Result<Vec<u8>, BackhandError> {
        let key = Sha256::of(bytes);
        let mut state = self.state();
        if let Some(compressed) = state.compressed.get(&key) {
            return Ok(compressed.clone());
        }
        if let Some(wanted) = &mut state.pending {
            wanted.entry(key).or_insert_with(|| bytes.to_vec());
            return Ok(bytes.to_vec());
        }
        drop(state);
        // Tables at the end, which say where compressed blocks are: known only in this pass.
        Ok(bulk::compress(bytes, self.level)?)
    }
}

/// Blocks of a `level` as they are kept: a digest of it and of the rest, then for each its key, its length, its bytes.
fn render(blocks: &BTreeMap<Sha256, Vec<u8>>, level: i32) -> Vec<u8> {
    let mut body = vec![];
    for (key, bytes) in blocks {
        body.extend_from_slice(key.as_ref());
        body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(bytes);
    }
    let mut file = checksum(&body, level).as_ref().to_vec();
    file.append(&mut body);
    file
}

/// The blocks of a file; `None` if it is not there, damaged or of another level, which costs time, nothing else.
fn read(path: &Path, level: i32) -> Option<BTreeMap<Sha256, Vec<u8>>> {
    parse(&std::fs::read(path).ok()?, level)
}

fn parse(file: &[u8], level: i32) -> Option<BTreeMap<Sha256, Vec<u8>>> {
    let (sum, mut body) = file.split_at_checked(32)?;
    if checksum(body, level).as_ref() != sum {
        return None;
    }
    let mut blocks = BTreeMap::new();
    while !body.is_empty() {
        let (key, rest) = body.split_first_chunk::<32>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        blocks.insert(Sha256::from(*key), bytes.to_vec());
        body = rest;
    }
    Some(blocks)
}

fn checksum(body: &[u8], level: i32) -> Sha256 {
    let mut hasher = FieldHasher::default();
    hasher.field(format!("zstd {level}")).field(body);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::squashfs::{BEST_LEVEL, FAST_LEVEL};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5),
                                at: usize) {
            let blocks: BTreeMap<_, _> = blocks.into_iter().map(|bytes| (Sha256::of(&bytes), bytes)).collect();
            let mut file = render(&blocks, BEST_LEVEL);
            prop_assert_eq!(parse(&file, FAST_LEVEL), None);
            prop_assert_eq!(parse(&file, BEST_LEVEL), Some(blocks));
            let at = at % file.len();
            file[at] ^= 1;
            prop_assert_eq!(parse(&file, BEST_LEVEL), None);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&[checksum(&bytes, BEST_LEVEL).as_ref(), &bytes].concat(), BEST_LEVEL);
        }
    }
}
