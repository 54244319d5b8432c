//! Giving back the memory of the journal.

use std::io;

use crate::clock::BothClocks;

use super::LogIntake;

/// The journal is cleared of what is stored when it has grown by this much, in bytes.
pub const MUCH: u64 = 256 << 10;

/// It holds no more than about this much, in bytes. More is asked of it only when the disk has
/// failed for long: then the oldest lines are no longer safe from the end of this process.
const MAX: u64 = 4 << 20;

impl LogIntake {
    /// Clears the journal of what is on disk, if it holds much.
    pub(super) fn clear_journal(&mut self) {
        if self.journal.as_ref().is_some_and(|journal| journal.size() >= self.look_at)
            && let Err(error) = self.clear()
        {
            self.go_on_without_journal(&error);
        }
    }

    /// The disk has taken something: what it has need not be held here, even if nothing comes
    /// after it.
    pub fn stored(&mut self) {
        self.look_at = MUCH;
        self.clear_journal();
    }

    fn clear(&mut self) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        // A line that is not ended for long must not hold all that came after it.
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

    /// Logd ends: what is on disk is not to be taken from the journal again.
    pub fn forget_stored(&mut self) {
        if let Some(journal) = &mut self.journal
            && self.tail.lock().ring.waiting_bytes() == 0
        {
            // If it cannot be cleared, the marks on disk say what is kept.
            let _ = journal.forget(journal.end());
        }
    }

    /// The journal takes no more. What it has is in memory too.
    pub(super) fn go_on_without_journal(&mut self, error: &io::Error) {
        self.tail.say(&format!("the journal cannot be used any more: {error}"));
        self.journal = None;
        self.marks.journal = 0;
    }
}
