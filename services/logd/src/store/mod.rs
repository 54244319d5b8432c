//! Entries on disk: a folder of segments, each a file of blocks. The oldest segment is removed
//! first.

mod block;
mod contents;
mod frame;
mod segment;
mod varint;
mod walk;
mod writer;

pub use block::{Context, Header, Marks, unit_bit};
pub use contents::fit;
pub use segment::{Segment, open};
pub use walk::{SegmentWalk, WalkStep};
pub use writer::{LogStore, Recovered, StoreLimits};
