//! The store, with all kinds of damage to its files.

#![cfg(test)]

use std::fs;
use std::path::Path;

use octet_logd::entry::{Entry, LogSource};
use octet_logd::store::{self, Context, LogStore, Marks, SegmentWalk, StoreLimits, WalkStep};
use proptest::prelude::*;
use tempfile::TempDir;

const BOOT: u128 = 7;

/// An incompressible text that is determined by its seed.
fn text(seed: u64, length: usize) -> Box<[u8]> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn entry(sequence: u64, length: usize) -> Entry {
    Entry {
        sequence,
        wall: 1_000_000 + sequence,
        uptime: sequence,
        unit: ["a", "b"][sequence as usize % 2].into(),
        source: LogSource::Output,
        text: text(sequence, length),
    }
}

fn context(block: u64) -> Context {
    Context { boot: BOOT, marks: Marks { kernel: block, journal: 1, input: block * 2 } }
}

/// Writes each of `blocks`, and returns the end of each in the first segment.
fn write(folder: &Path, blocks: &[Vec<Entry>]) -> Vec<u64> {
    let (mut store, _) = LogStore::open(folder, StoreLimits::default()).unwrap();
    let mut ends = vec![];
    for (block, entries) in blocks.iter().enumerate() {
        store.append(entries.iter(), context(block as u64)).unwrap();
        ends.push(store.bytes());
    }
    store.sync().unwrap();
    ends
}

/// All readable entries, and the number of damaged parts between them.
fn read(folder: &Path) -> (Vec<Entry>, usize) {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let (mut entries, mut damaged) = (vec![], 0);
    for path in names {
        let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let file = store::open(folder, number).unwrap();
        let mut walk = SegmentWalk::new(&file, number, 0, file.metadata().unwrap().len());
        loop {
            match walk.step().unwrap() {
                WalkStep::End => break,
                WalkStep::Damaged { .. } => damaged += 1,
                WalkStep::Block { at, header } => match walk.entries(at, &header).unwrap() {
                    Some(mut more) => entries.append(&mut more),
                    None => damaged += 1,
                },
            }
        }
    }
    (entries, damaged)
}

/// Blocks of entries with ascending sequence numbers.
fn blocks() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    prop::collection::vec(prop::collection::vec(0usize..300, 1..6), 1..12).prop_map(|lengths| {
        let mut sequence = 0;
        let entry = |length| {
            sequence += 1;
            entry(sequence, length)
        };
        let mut entry = entry;
        lengths.into_iter().map(|block| block.into_iter().map(&mut entry).collect()).collect()
    })
}

fn first_segment(folder: &Path) -> std::path::PathBuf {
    folder.join("00000001.log")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Written entries can be read in order, also after reopening.
    #[test]
    fn comes_back(blocks in blocks()) {
        let folder = TempDir::new().unwrap();
        write(folder.path(), &blocks);
        prop_assert_eq!(read(folder.path()), (blocks.concat(), 0));
        let (_, recovered) = LogStore::open(folder.path(), StoreLimits::default()).unwrap();
        let last = recovered.last.unwrap();
        prop_assert_eq!(last.last, blocks.concat().last().unwrap().sequence);
        prop_assert_eq!((last.boot, last.marks), (BOOT, context(blocks.len() as u64 - 1).marks));
        prop_assert_eq!((recovered.torn, recovered.damaged), (0, 0));
    }

    /// After a cut at any byte, all blocks before it are readable, the incomplete one is removed,
    /// and the store can be written.
    #[test]
    fn survives_a_cut(blocks in blocks(), at in 0.0f64..1.0) {
        let folder = TempDir::new().unwrap();
        let ends = write(folder.path(), &blocks);
        let cut = (*ends.last().unwrap() as f64 * at) as u64;
        let file = fs::OpenOptions::new().write(true).open(first_segment(folder.path())).unwrap();
        file.set_len(cut).unwrap();
        let whole = ends.iter().filter(|&&end| end <= cut).count();

        let (mut store, recovered) = LogStore::open(folder.path(), StoreLimits::default()).unwrap();
        let end = if whole > 0 { ends[whole - 1] } else { cut.min(16) };
        prop_assert_eq!((recovered.torn, recovered.damaged), (cut - end, 0));
        let more = [entry(1_000_000, 10)];
        store.append(more.iter(), context(0)).unwrap();
        let mut expected = blocks[..whole].concat();
        expected.extend(more);
        prop_assert_eq!(read(folder.path()).0, expected);
        let (_, recovered) = LogStore::open(folder.path(), StoreLimits::default()).unwrap();
        prop_assert_eq!((recovered.torn, recovered.last.unwrap().last), (0, 1_000_000));
    }

    /// Zeros at the end, as some file systems leave them after a power failure.
    #[test]
    fn survives_zeros(blocks in blocks(), zeros in 1u64..5000) {
        let folder = TempDir::new().unwrap();
        let ends = write(folder.path(), &blocks);
        let end = ends.last().unwrap();
        let file = fs::OpenOptions::new().write(true).open(first_segment(folder.path())).unwrap();
        file.set_len(end + zeros).unwrap();
        let (_, recovered) = LogStore::open(folder.path(), StoreLimits::default()).unwrap();
        prop_assert_eq!(recovered.torn, zeros);
        prop_assert_eq!(read(folder.path()), (blocks.concat(), 0));
    }

    /// A flipped bit destroys only the block that contains it.
    #[test]
    fn survives_a_flipped_byte(blocks in blocks(), at in 0.0f64..1.0, bit in 0u8..8) {
        let folder = TempDir::new().unwrap();
        let ends = write(folder.path(), &blocks);
        let mut bytes = fs::read(first_segment(folder.path())).unwrap();
        // A header with another version is a separate test.
        let place = 16 + ((bytes.len() - 17) as f64 * at) as usize;
        bytes[place] ^= 1 << bit;
        fs::write(first_segment(folder.path()), &bytes).unwrap();
        let hit = ends.iter().position(|&end| (place as u64) < end).unwrap();
        let mut left = blocks.clone();
        left.remove(hit);

        let (entries, damaged) = read(folder.path());
        prop_assert_eq!((&entries, damaged), (&left.concat(), 1));
        let (_, recovered) = LogStore::open(folder.path(), StoreLimits::default()).unwrap();
        let is_last = hit + 1 == blocks.len();
        prop_assert_eq!((recovered.torn > 0, recovered.damaged), (is_last, u64::from(!is_last)));
        prop_assert_eq!(read(folder.path()).0, left.concat());
    }

    /// With arbitrary files there is no panic, and the store is usable.
    #[test]
    fn survives_anything(
        files in prop::collection::vec(
            (1u32..4, prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..200),
                    Just(b"OCTLOGB1".to_vec()),
                    Just(b"OCTETLOG\x01\0\0\0\x01\0\0\0".to_vec()),
                ], 0..6)),
            0..4),
    ) {
        let folder = TempDir::new().unwrap();
        for (number, parts) in files {
            fs::write(folder.path().join(format!("{number:08}.log")), parts.concat()).unwrap();
        }
        let (mut store, _) = LogStore::open(folder.path(), StoreLimits::default()).unwrap();
        let entries = [entry(3, 50)];
        store.append(entries.iter(), context(0)).unwrap();
        prop_assert_eq!(read(folder.path()).0, entries);
    }
}

/// The size limit holds after each block, the oldest segment is removed first, and no gap results.
#[test]
fn the_bound_holds() {
    let folder = TempDir::new().unwrap();
    let limits = StoreLimits { segment: 200 << 10, total: 1 << 20 };
    let mut sequence = 0;
    for _ in 0..3 {
        // The store is reopened, as after a restart.
        let (mut store, _) = LogStore::open(folder.path(), limits).unwrap();
        for _ in 0..40 {
            let entries: Vec<Entry> = (0..14).map(|i| entry(sequence + i, 4096)).collect();
            assert_eq!(store::fit(entries.iter()), 14);
            sequence += 14;
            store.append(entries.iter(), context(0)).unwrap();
            let on_disk: u64 = fs::read_dir(folder.path())
                .unwrap()
                .map(|e| e.unwrap().metadata().unwrap().len())
                .sum();
            assert!(on_disk <= limits.total, "{on_disk}");
            assert_eq!(on_disk, store.bytes());
        }
    }
    let (entries, damaged) = read(folder.path());
    assert_eq!(damaged, 0);
    let first = entries[0].sequence;
    assert!(first > 0 && sequence - first > 150, "{first} {sequence}");
    assert!(entries.iter().map(|entry| entry.sequence).eq(first..sequence));
}

/// The bytes of a block that a unit logs as its line never count as a block.
#[test]
fn a_forged_block_is_none() {
    let forger = TempDir::new().unwrap();
    write(forger.path(), &[vec![entry(500, 100)]]);
    let forged = fs::read(first_segment(forger.path())).unwrap().split_off(16);

    let folder = TempDir::new().unwrap();
    write(folder.path(), &[vec![entry(1, 2000)], vec![entry(2, 10)]]);
    let mut bytes = fs::read(first_segment(folder.path())).unwrap();
    let at = 200;
    bytes[at..at + forged.len()].copy_from_slice(&forged);
    fs::write(first_segment(folder.path()), &bytes).unwrap();
    // The damaged block has a valid header, so its length is known.
    assert_eq!(read(folder.path()), (vec![entry(2, 10)], 1));
    // Without a valid header, the next block is searched byte by byte.
    bytes[20] ^= 1;
    fs::write(first_segment(folder.path()), &bytes).unwrap();
    assert_eq!(read(folder.path()), (vec![entry(2, 10)], 1));
}

/// A segment of a later version is not changed.
#[test]
fn a_later_version_is_left_alone() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &[vec![entry(1, 10)]]);
    let path = first_segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    fs::write(&path, &bytes).unwrap();
    let (mut store, recovered) = LogStore::open(folder.path(), StoreLimits::default()).unwrap();
    assert_eq!(recovered, store::Recovered::default());
    store.append([entry(2, 10)].iter(), context(0)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(folder.path().join("00000002.log").exists());
}
