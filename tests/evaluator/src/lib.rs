//! Which packets arrive, by `docs/segments.md` alone: the second opinion that tests compare the
//! network daemon with. It shares no code with what ships, and goes through the lines of the file for
//! every question, so that its mistakes are others than the daemon's.

mod addresses;
mod built_in;
mod by;
mod cluster;
mod error;
mod faults;
mod line;
mod neighbour;
mod policy;
mod publish;
mod section;
mod table;
mod traffic;
mod units;
mod verdict;
mod world;
mod zone;

pub use by::By;
pub use error::LONGEST_ERROR;
pub use faults::{FAULTS, Fault};
pub use table::{Difference, Outcome, Probe, Table, compare};
pub use traffic::{Traffic, Version};
pub use verdict::Verdict;
pub use world::World;
pub use zone::Zone;
