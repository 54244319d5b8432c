//! The missing pieces of an object, and their order.

use std::collections::VecDeque;

use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt};

/// The size of a piece in bytes; the last one of an object may be shorter.
pub const PIECE: u64 = 1 << 20;

#[derive(Debug)]
pub struct FetchPlan {
    size: u64,
    pending: VecDeque<u64>,
    in_flight: usize,
}

impl FetchPlan {
    /// The plan for an object of `size` bytes, of which the chunks `present` are on this node.
    pub fn new(size: u64, present: &ChunkRanges) -> Self {
        let lacks = |piece: &u64| !missing_chunks(*piece, size, present).is_empty();
        let pending = (0..size.div_ceil(PIECE)).filter(lacks).collect();
        Self { size, pending, in_flight: 0 }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the first piece that is not requested yet, and that `may` be taken.
    pub fn take_if(&mut self, may: impl Fn(u64) -> bool) -> Option<u64> {
        let at = self.pending.iter().position(|piece| may(*piece))?;
        self.in_flight += 1;
        self.pending.remove(at)
    }

    /// Marks a requested piece as received.
    pub fn complete(&mut self) {
        self.in_flight -= 1;
    }

    /// Returns a requested piece that failed: it is the next to be requested again.
    pub fn retry(&mut self, piece: u64) {
        self.in_flight -= 1;
        self.pending.push_front(piece);
    }

    /// Moves the piece with the byte `at` to the front, if it is not requested yet.
    pub fn prioritise(&mut self, at: u64) {
        let found = self.pending.iter().position(|piece| *piece == at / PIECE);
        if let Some(piece) = found.and_then(|found| self.pending.remove(found)) {
            self.pending.push_front(piece);
        }
    }

    /// The number of pieces that are not requested yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The bytes of room that are required, and that should be made if there are fewer: twice the
    /// received and verified data at most, because a malicious node can prove a size without having
    /// the object.
    pub fn room(&self) -> (u64, u64) {
        let begun = self.size.div_ceil(PIECE) - self.pending.len() as u64;
        let came = begun - self.in_flight as u64;
        let bytes = |pieces: u64| pieces.saturating_mul(PIECE).min(self.size);
        (bytes(begun), bytes(begun + came))
    }

    pub fn is_done(&self) -> bool {
        self.pending.is_empty() && self.in_flight == 0
    }
}

/// The missing chunks of a piece of an object of `size` bytes, of which `present` is on this node.
pub fn missing_chunks(piece: u64, size: u64, present: &ChunkRanges) -> ChunkRanges {
    let start = piece.saturating_mul(PIECE);
    &ChunkRanges::bytes(start..start.saturating_add(PIECE).min(size)) - present
}

/// The end of the available range from byte `at`; `at` itself if that byte is missing.
pub fn available_until(at: u64, present: &ChunkRanges) -> u64 {
    let bytes = |chunk: u64| chunk.saturating_mul(1024);
    // Pairs of start and end; the last end may be open.
    for run in present.boundaries().chunks(2) {
        let end = run.get(1).map_or(u64::MAX, |end| bytes(end.0));
        if bytes(run[0].0) <= at && at < end {
            return end;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Runs of chunks within the first 5000.
    fn present() -> impl Strategy<Value = ChunkRanges> {
        let runs = prop::collection::vec((0u64..5000, 0u64..2000), 0..5);
        runs.prop_map(|runs| {
            runs.iter().fold(ChunkRanges::empty(), |all, (start, more)| {
                all | ChunkRanges::chunks(*start..start + more)
            })
        })
    }

    fn has(ranges: &ChunkRanges, chunk: u64) -> bool {
        !(ranges & &ChunkRanges::chunk(chunk)).is_empty()
    }

    proptest! {
        /// Together, the pieces lack exactly the missing chunks of the object.
        #[test]
        fn pieces_lack_what_is_not_here(size in 0u64..5_000_000, present in present()) {
            let mut plan = FetchPlan::new(size, &present);
            let mut lacks = ChunkRanges::empty();
            while let Some(piece) = plan.take_if(|_| true) {
                let of_it = missing_chunks(piece, size, &present);
                prop_assert!(!of_it.is_empty());
                lacks |= of_it;
                plan.complete();
            }
            prop_assert!(plan.is_done());
            for chunk in 0..5000 {
                let is_lacking = chunk * 1024 < size && !has(&present, chunk);
                prop_assert_eq!(has(&lacks, chunk), is_lacking, "{}", chunk);
            }
        }

        /// There is room for all requested pieces, and never for more than twice the received data.
        #[test]
        fn room_as_it_comes(size in 0u64..9_000_000, present in present(), fails in prop::collection::vec(any::<bool>(), 30)) {
            let mut plan = FetchPlan::new(size, &present);
            for fails in fails {
                let Some(piece) = plan.take_if(|_| true) else { break };
                let (needed, ahead) = plan.room();
                let begun = size.div_ceil(PIECE) - plan.pending() as u64;
                prop_assert_eq!(needed, size.min(begun * PIECE));
                prop_assert!(needed <= ahead && ahead <= size.min(2 * begun * PIECE - PIECE));
                if fails { plan.retry(piece) } else { plan.complete() }
            }
            while plan.take_if(|_| true).is_some() {
                plan.complete();
            }
            prop_assert_eq!(plan.room(), (size, size));
        }

        #[test]
        fn here_as_far_as_every_chunk_is(at in 0u64..5_200_000, present in present()) {
            let until = available_until(at, &present);
            prop_assert!(until == at || (at / 1024..until / 1024).all(|chunk| has(&present, chunk)));
            let goes_on = has(&present, until / 1024);
            prop_assert!(!goes_on);
        }

        /// For any sequence of events, each piece arrives once, and none is forgotten.
        #[test]
        fn each_piece_once(steps in prop::collection::vec((0u8..4, 0u64..8), 0..60)) {
            let mut plan = FetchPlan::new(8 * PIECE, &ChunkRanges::empty());
            let (mut asked, mut came) = (vec![], BTreeSet::new());
            let mut end = vec![];
            // In the end all requested pieces arrive, and the rest.
            for _ in 0..8 {
                end.extend([(1, 0), (0, 0), (1, 0)]);
            }
            for (step, number) in steps.into_iter().chain(end) {
                match step {
                    0 => asked.extend(plan.take_if(|_| true)),
                    1 if !asked.is_empty() => {
                        prop_assert!(came.insert(asked.remove(number as usize % asked.len())));
                        plan.complete();
                    }
                    2 if !asked.is_empty() => {
                        plan.retry(asked.remove(number as usize % asked.len()));
                    }
                    3 => {
                        plan.prioritise(number * PIECE + 5);
                        if !asked.contains(&number) && !came.contains(&number) {
                            let next = plan.take_if(|_| true);
                            prop_assert_eq!(next, Some(number));
                            asked.extend(next);
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(plan.is_done(), came.len() == 8);
            }
            while let Some(piece) = asked.pop() {
                came.insert(piece);
                plan.complete();
            }
            prop_assert!(plan.is_done() && came.len() == 8);
        }
    }
}
