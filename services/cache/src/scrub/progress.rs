//! How far a pass over all objects is, and its file.

use std::time::Duration;

use iroh_blobs::Hash;
use serde::{Deserialize, Serialize};

/// The version of the file.
const VERSION: u8 = 1;

/// The progress of a pass. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrubProgress {
    version: u8,
    /// When the last pass started.
    pub started: Option<u64>,
    /// When a pass last reached the last object.
    pub finished: Option<u64>,
    pub is_running: bool,
    /// The last object of this pass, in hexadecimal digits.
    last: Option<String>,
    /// The number of objects that this pass, or the last one, has verified.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl ScrubProgress {
    /// The maximum size of the file in bytes.
    pub const MAX_LENGTH: u64 = 1024;

    /// Starts a pass.
    pub fn start(&mut self, now: u64) {
        *self = Self {
            version: VERSION,
            started: Some(now),
            finished: self.finished,
            is_running: true,
            ..Self::default()
        };
    }

    /// Records that this pass has reached an object, and verified so many bytes of it; none if it has gone.
    pub fn advance(&mut self, hash: Hash, bytes: Option<u64>) {
        self.last = Some(hash.to_hex().to_string());
        self.objects += u64::from(bytes.is_some());
        self.bytes = self.bytes.saturating_add(bytes.unwrap_or(0));
    }

    /// Records that this pass has reached the last object.
    pub fn finish(&mut self, now: u64) {
        self.is_running = false;
        self.finished = Some(now);
    }

    /// The last object that this pass has reached.
    pub fn last(&self) -> Option<Hash> {
        self.last.as_ref().and_then(|last| last.parse().ok())
    }

    /// The time until a pass is due, if `pause` lies between the starts of two. If the clock was set back, one is due
    /// at once.
    pub fn time_until_due(&self, now: u64, pause: Duration) -> Duration {
        let Some(passed) = self.started.and_then(|started| now.checked_sub(started)) else {
            return Duration::ZERO;
        };
        match self.is_running {
            true => Duration::ZERO,
            false => pause.saturating_sub(Duration::from_secs(passed)),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        // It fails for maps whose keys are no text only.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses the file.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let progress: Self = serde_json::from_slice(bytes).ok()?;
        let is_hash = progress.last.is_none() || progress.last().is_some();
        (progress.version == VERSION && is_hash).then_some(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(
            start: u64, end: Option<u64>, steps in prop::collection::vec(any::<([u8; 32], Option<u64>)>(), 0..4),
        ) {
            let mut progress = ScrubProgress::default();
            progress.start(start);
            for (hash, bytes) in steps {
                progress.advance(Hash::from_bytes(hash), bytes);
                prop_assert_eq!(progress.last(), Some(Hash::from_bytes(hash)));
            }
            end.into_iter().for_each(|end| progress.finish(end));
            let bytes = progress.to_bytes();
            prop_assert!(bytes.len() as u64 <= ScrubProgress::MAX_LENGTH);
            prop_assert_eq!(ScrubProgress::from_bytes(&bytes), Some(progress));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = ScrubProgress::from_bytes(&bytes);
        }
    }

    #[test]
    fn a_pass_a_week() {
        let mut progress = ScrubProgress::default();
        assert_eq!(progress.time_until_due(5, WEEK), Duration::ZERO);
        progress.start(1000);
        progress.advance(Hash::EMPTY, Some(1));
        // It goes on until it has ended, also after a restart.
        assert_eq!(progress.time_until_due(1001, WEEK), Duration::ZERO);
        progress.finish(2000);
        assert_eq!(progress.time_until_due(2000, WEEK), WEEK - Duration::from_secs(1000));
        assert_eq!(progress.time_until_due(1000 + WEEK.as_secs(), WEEK), Duration::ZERO);
        assert_eq!(progress.time_until_due(999, WEEK), Duration::ZERO);
        progress.start(3000);
        assert_eq!((progress.last(), progress.objects, progress.finished), (None, 0, Some(2000)));
    }
}
