//! Counters since the start of this logd.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::limit::Dropped;
use crate::store::Segment;

/// The maximum number of damaged places that are counted.
const MAX_DAMAGED: usize = 4096;

#[derive(Debug, Default)]
pub struct Stats {
    units: BTreeMap<Arc<str>, UnitStats>,
    pub blocks: u64,
    /// The bytes that were cut off the end of the store when it was opened.
    pub torn: u64,
    /// The number of damaged places that were found when the store was opened.
    pub damaged: u64,
    /// The damaged places that readers have found: segment and offset.
    damaged_at: HashSet<(u32, u64)>,
}

#[derive(Debug, Default)]
pub struct UnitStats {
    lines: u64,
    bytes: u64,
    over_rate: Dropped,
    no_room: Dropped,
    unreported: Dropped,
    lost_bytes: u64,
}

impl Stats {
    /// The counters of `unit`.
    pub fn unit(&mut self, unit: &Arc<str>) -> &mut UnitStats {
        self.units.entry(unit.clone()).or_default()
    }

    /// Whether the log has lines of the unit.
    pub fn has_unit(&self, unit: &str) -> bool {
        self.units.contains_key(unit)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.units.keys().map(|name| &**name)
    }

    /// Counts a damaged place that a reader has found.
    pub fn damaged_at(&mut self, segment: u32, offset: u64) {
        if self.damaged_at.len() < MAX_DAMAGED {
            self.damaged_at.insert((segment, offset));
        }
    }

    /// Takes the counts of lines that were removed for lack of room and not reported yet, by unit.
    pub fn take_unreported(&mut self) -> Vec<(Arc<str>, Dropped)> {
        let all =
            self.units.iter_mut().map(|(n, u)| (n.clone(), std::mem::take(&mut u.unreported)));
        all.filter(|(_, dropped)| dropped.lines > 0).collect()
    }

    pub fn report(&self, segments: &[Segment], next: u64, waiting: usize) -> Value {
        let first = segments.iter().find_map(|segment| segment.first).unwrap_or(next);
        let units = self.units.iter().map(|(name, unit)| {
            json!({
                "unit": **name, "lines": unit.lines, "bytes": unit.bytes,
                "over_rate": unit.over_rate.lines, "no_room": unit.no_room.lines,
                "lost": unit.lost_bytes,
            })
        });
        json!({
            "stored": segments.iter().map(|segment| segment.bytes).sum::<u64>(),
            "segments": segments.len(), "entries": next.saturating_sub(first), "waiting": waiting,
            "blocks": self.blocks, "torn": self.torn,
            "damaged": self.damaged + self.damaged_at.len() as u64,
            "units": units.collect::<Vec<_>>(),
        })
    }
}

impl UnitStats {
    pub fn count_line(&mut self, length: usize) {
        self.lines += 1;
        self.bytes += length as u64;
    }

    /// Counts lines above the unit's rate limit.
    pub fn count_over_rate(&mut self, dropped: Dropped) {
        self.over_rate.lines += dropped.lines;
        self.over_rate.bytes += dropped.bytes;
    }

    /// Counts a line that was removed before it was on disk.
    pub fn count_evicted(&mut self, length: usize) {
        for dropped in [&mut self.no_room, &mut self.unreported] {
            dropped.lines += 1;
            dropped.bytes += length as u64 + 1;
        }
    }

    /// Counts bytes that PID 1 had to drop while logd was not running.
    pub fn count_lost(&mut self, bytes: u64) {
        self.lost_bytes += bytes;
    }
}
