//! Releases the memory of the journal.

use std::io;

use crate::clock::BothClocks;

use super::LogIntake;

/// Stored data is removed from the journal after it has grown by this much, in bytes.
pub const MUCH: u64 = 256 << 10;

/// The approximate maximum size of the journal, in bytes. It is only reached if the disk fails for
/// long; then the oldest lines are lost if this process ends.
const MAX: u64 = 4 << 20;

impl LogIntake {
    /// Removes stored data from the journal if that is large enough.
    pub(super) fn clear_journal(&mut self) {
        if self.journal.as_ref().is_some_and(|journal| journal.size() >= self.look_at)
            && let Err(error) = self.clear()
        {
            self.disable_journal(&error);
        }
    }

    /// Handles new data on disk: the journal shrinks even if no more lines arrive.
    pub fn stored(&mut self) {
        self.look_at = MUCH;
        self.clear_journal();
    }

    fn clear(&mut self) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        // A pending line is restated at the end, so that the records after it can be removed.
        let old = journal.end().saturating_sub(MUCH);
        for pipe in &mut self.pipes {
            if pipe.lines.pending_from().is_some_and(|start| start < old) {
                let at = journal.restate(&pipe.unit, BothClocks::read(), pipe.lines.pending())?;
                pipe.lines.moved_to(at);
            }
        }
        let waiting = self.tail.lock().ring.needed_input();
        let pending = self.pipes.iter().filter_map(|pipe| pipe.lines.pending_from());
        let needed = pending.chain(waiting).min().unwrap_or(journal.end());
        journal.forget(needed.max(journal.end().saturating_sub(MAX)))?;
        self.look_at = journal.size() + MUCH;
        Ok(())
    }

    /// Removes stored data at the end, so that the next logd does not read it again.
    pub fn forget_stored(&mut self) {
        if let Some(journal) = &mut self.journal
            && self.tail.lock().ring.waiting_bytes() == 0
        {
            // If this fails, the marks on disk still show what is stored.
            let _ = journal.forget(journal.end());
        }
    }

    /// Continues without a journal, whose data is in memory, too.
    pub(super) fn disable_journal(&mut self, error: &io::Error) {
        self.tail.log(&format!("the journal cannot be used any more: {error}"));
        self.journal = None;
        self.marks.journal = 0;
    }
}
