//! Who looks on while an image is written.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashPhase {
    /// Comparing, and writing what differs.
    Write,
    /// Reading back what was written.
    Verify,
    /// Writing a slot alone, and reading it back.
    Slot,
}

/// Looks on, and may stop it. Its methods are called from several threads.
pub trait Watch: Sync {
    /// A phase begins, over `total` bytes; the one before it is at its end.
    fn begin(&self, phase: FlashPhase, total: u64) {
        let _ = (phase, total);
    }

    /// So many bytes more are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Whether it is to stop, before the next piece.
    fn stopped(&self) -> bool {
        false
    }
}

#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {}
