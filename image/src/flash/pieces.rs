//! Which parts of a medium have to be looked at, and which of their bytes differ.

use std::ops::Range;

/// The unit of comparing and writing: what differs in one byte is written as a whole.
pub const GRANULE: u64 = 64 << 10;

/// The unit of work: read, compared and written by one thread, the longest single write.
pub const PIECE: u64 = 1 << 20;

/// A part of a medium. It does not cross a multiple of [`PIECE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediumPart {
    /// Where it is, in bytes.
    pub at: Range<u64>,
    /// Whether the image has a hole here, so that zeros have to be there.
    pub hole: bool,
}

/// The pieces of `range` that have to be looked at: all but those where both the image and the
/// target have holes. `image` and `target` say where each has data, in order.
pub fn pieces(range: Range<u64>, image: &[Range<u64>], target: &[Range<u64>]) -> Vec<MediumPart> {
    let mut pieces: Vec<MediumPart> = vec![];
    let (mut image, mut target) = (Cursor(image), Cursor(target));
    let mut at = range.start;
    while at < range.end {
        let granule = at..(at - at % GRANULE + GRANULE).min(range.end);
        let (ours, theirs) = (image.touches(&granule), target.touches(&granule));
        at = granule.end;
        if !ours && !theirs {
            continue;
        }
        match pieces.last_mut() {
            Some(last)
                if last.hole != ours
                    && last.at.end == granule.start
                    && !granule.start.is_multiple_of(PIECE) =>
            {
                last.at.end = granule.end;
            }
            _ => pieces.push(MediumPart { at: granule, hole: !ours }),
        }
    }
    pieces
}

/// Ranges in order that are asked for in order.
struct Cursor<'a>(&'a [Range<u64>]);

impl Cursor<'_> {
    fn touches(&mut self, granule: &Range<u64>) -> bool {
        while self.0.first().is_some_and(|range| range.end <= granule.start) {
            self.0 = &self.0[1..];
        }
        self.0.first().is_some_and(|range| range.start < granule.end)
    }
}

/// Where `ours` and `theirs`, which are equally long, differ, in whole granules of `granule`
/// bytes; neighbours are one range.
pub fn differing(ours: &[u8], theirs: &[u8], granule: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = vec![];
    for (index, (a, b)) in ours.chunks(granule).zip(theirs.chunks(granule)).enumerate() {
        if a == b {
            continue;
        }
        let start = index * granule;
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = start + a.len(),
            _ => ranges.push(start..start + a.len()),
        }
    }
    ranges
}

/// `ranges` in order, with neighbours made one, cut at multiples of [`PIECE`].
pub fn cut(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut all: Vec<Range<u64>> = vec![];
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.end == range.start && !range.start.is_multiple_of(PIECE) => {
                last.end = range.end;
            }
            _ => all.push(range),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: u64 = 3 * PIECE + 5000;

    /// Some places with data, in order.
    fn extents() -> impl Strategy<Value = Vec<Range<u64>>> {
        prop::collection::btree_set(0..LEN, 0..8).prop_map(|ends| {
            let ends: Vec<u64> = ends.into_iter().collect();
            ends.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
        })
    }

    fn has_data(extents: &[Range<u64>], range: &Range<u64>) -> bool {
        extents.iter().any(|data| data.start < range.end && range.start < data.end)
    }

    proptest! {
        /// Every granule is in one piece, unless both have a hole there.
        #[test]
        fn nothing_is_forgotten(
            image in extents(), target in extents(), start in (0..4u64).prop_map(|n| n * GRANULE),
        ) {
            let pieces = pieces(start..LEN, &image, &target);
            let mut end = start;
            for piece in &pieces {
                prop_assert!(piece.at.start >= end && piece.at.start < piece.at.end);
                prop_assert_eq!(piece.at.start / PIECE, (piece.at.end - 1) / PIECE);
                prop_assert!(!piece.hole || !has_data(&image, &piece.at));
                end = piece.at.end;
            }
            prop_assert!(end <= LEN);
            for at in (start..LEN).step_by(GRANULE as usize) {
                let granule = at..(at + GRANULE).min(LEN);
                let covered =
                    pieces.iter().any(|it| it.at.start <= granule.start && granule.end <= it.at.end);
                prop_assert_eq!(covered, has_data(&image, &granule) || has_data(&target, &granule));
            }
        }

        /// What is written where it differs makes both the same, and nothing more is written.
        #[test]
        fn writes_what_differs(changes in prop::collection::vec((0..10_000usize, any::<u8>()), 0..6)) {
            let ours = vec![3; 10_000];
            let mut theirs = ours.clone();
            for (at, value) in changes {
                theirs[at] = value;
            }
            let before = theirs.clone();
            for range in differing(&ours, &before, 512) {
                for granule in range.clone().step_by(512) {
                    let granule = granule..(granule + 512).min(range.end);
                    prop_assert_ne!(&ours[granule.clone()], &before[granule]);
                }
                theirs[range.clone()].copy_from_slice(&ours[range]);
            }
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn neighbours_are_one_write() {
        assert_eq!(differing(&[0; 7], &[0, 1, 1, 0, 0, 0, 1], 2), [0..4, 6..7]);
        assert_eq!(cut(vec![8..9, 0..4, 4..8]), vec![0..9]);
        assert_eq!(cut(vec![PIECE..PIECE + 1, 5..PIECE]), vec![5..PIECE, PIECE..PIECE + 1]);
    }
}
