//! Decides which packets arrive, from `docs/segments.md` alone: tests compare netd with this second
//! implementation. It shares no code with the product, and evaluates the rules of the file for
//! every query, so that it does not have the same mistakes.

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
