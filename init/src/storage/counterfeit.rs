//! Detects counterfeit media, which report more capacity than they have, before the data partition
//! grows over it. They lose what is written behind their real end, or ignore address bits, so that
//! such a write overwrites their beginning.
//!
//! The test writes only to unused positions: the beginning of the data partition, which is to be
//! formatted, and what is behind the image. Each of the latter is a power of two away from the
//! former, so that on a medium that wraps around the former is overwritten.

use std::io;

const PAGE: usize = 4096;

/// Bytes at the beginning of the medium that must not change: the partition table.
const HEAD: usize = 5 * PAGE;

/// Why a medium is rejected.
#[derive(Debug, thiserror::Error)]
pub enum MediumProblem {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has less capacity than it reports.
    #[error(
        "it says that it has {} MiB, but what is written behind its first ones is lost: it is a counterfeit with between \
         {} and {} MiB, on which data would be lost; put the image on another one",
        says >> 20, has >> 20, lost.div_ceil(1 << 20)
    )]
    Counterfeit {
        /// Bytes up to the end of the data partition.
        says: u64,
        has: u64,
        lost: u64,
    },
}

/// Tests whether the medium keeps what is written between `first`, where the data partition begins,
/// and `end`. The reads must bypass the page cache.
pub fn test(
    (first, end): (u64, u64),
    seed: u8,
    mut write: impl FnMut(u64, &[u8]) -> io::Result<()>,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> Result<(), MediumProblem> {
    let mut head = vec![0; HEAD];
    read(0, &mut head)?;
    let mut is_there = |at: u64, content: &[u8]| {
        let mut there = vec![0; content.len()];
        read(at, &mut there).map(|()| there == content)
    };
    write(first, &test_pattern(seed, first))?;
    let mut has = first;
    for at in test_offsets(first, end) {
        write(at, &test_pattern(seed, at))?;
        let is_kept = is_there(at, &test_pattern(seed, at))?
            && is_there(first, &test_pattern(seed, first))?
            && is_there(0, &head)?;
        if !is_kept {
            return Err(MediumProblem::Counterfeit { says: end, has, lost: at });
        }
        has = at + PAGE as u64;
    }
    Ok(())
}

/// The test positions, the nearest first. Those that are a power of two away are farther than
/// `first` is from the beginning: so whichever power of two the real capacity is, the first
/// position to be overwritten is `first`.
fn test_offsets(first: u64, end: u64) -> Vec<u64> {
    let page = PAGE as u64;
    let powers = (0..63).map(|power| 1 << power).skip_while(|away| *away <= first);
    let places = powers.map_while(|away| first.checked_add(away));
    let mut places: Vec<_> = places.take_while(|at| at + page <= end).collect();
    let last = end.saturating_sub(page);
    // On a medium whose real capacity is the power of two below `last`, a write there would wrap
    // around to something before `first`.
    let power = 1 << last.checked_ilog2().unwrap_or(0);
    let last = if last - power < first { power.saturating_sub(page) } else { last };
    places.extend(Some(last).filter(|last| *last >= first + page));
    places
}

/// A page with content that is unique to its position.
fn test_pattern(seed: u8, at: u64) -> Vec<u8> {
    let mut state = at | 1;
    let bytes = std::iter::repeat_with(|| {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8 ^ seed
    });
    bytes.take(PAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const MIB: u64 = 1 << 20;
    /// As on a disk: after the EFI system partition.
    const FIRST: u64 = 20 * MIB;

    /// A medium with a real capacity of `has` MiB.
    fn looked(has: u64, says: u64, forgets: bool) -> (Result<(), MediumProblem>, Vec<u8>) {
        let pages = (0..has * MIB / PAGE as u64).flat_map(|page| [page as u8 | 1; PAGE]);
        let bytes = RefCell::new(pages.collect::<Vec<_>>());
        let part = |at: u64, len: usize| {
            let has = bytes.borrow().len() as u64;
            (!forgets || at < has).then(|| (at % has) as usize..(at % has) as usize + len)
        };
        let write = |at, content: &[u8]| {
            if let Some(part) = part(at, content.len()) {
                bytes.borrow_mut()[part].copy_from_slice(content);
            }
            Ok(())
        };
        let read = |at, into: &mut [u8]| {
            match part(at, into.len()) {
                Some(part) => into.copy_from_slice(&bytes.borrow()[part]),
                None => into.fill(0),
            }
            Ok(())
        };
        let looked = test((FIRST, says * MIB), 7, write, read);
        let before_data = bytes.borrow()[..FIRST as usize].to_vec();
        (looked, before_data)
    }

    #[test]
    fn a_counterfeit_is_found_out_and_nothing_of_anybody_is_written_over() {
        let untouched = looked(36, 36, false).1;
        let is_untouched = untouched
            .chunks(PAGE)
            .zip(0u64..)
            .all(|(page, number)| page.iter().all(|byte| *byte == number as u8 | 1));
        assert!(is_untouched);
        for (has, says, forgets) in [
            (36, 36, false),
            (60, 60, false),
            (64, 256, false),
            (32, 64, false),
            (32, 1 << 20, false),
            (40, 64, true),
            (50, 4096, true),
            (60, 64, true),
        ] {
            let (looked, before_data) = looked(has, says, forgets);
            assert!(before_data == untouched, "{has} of {says} MiB");
            match looked {
                Ok(()) => assert_eq!(has, says),
                Err(MediumProblem::Counterfeit { says: said, has: least, lost }) => {
                    assert!(has < says && said == says * MIB, "{has} of {says} MiB");
                    assert!(least <= has * MIB && lost + PAGE as u64 > has * MIB);
                }
                Err(problem) => panic!("{problem}"),
            }
        }
    }
}
