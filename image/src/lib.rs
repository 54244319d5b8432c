//! `cargo image`: builds the appliance's image, boots it, tests it.
//!
//! The builder is the whole of it. What is public besides is what benchmarks use (`tests/bench`).

mod appliance_file;
pub mod build;
mod cache;
mod command;
mod digest;
mod flash;
mod host_cargo;
mod lan;
mod lock;
mod output;
mod report;
mod running;
mod seed;
pub mod setup;
mod source;
mod steps;
mod store;
mod suite;
mod target;
mod tree;
pub mod update;
mod verify;
mod workspace;

pub use command::bench::{Args as BenchArgs, BUILDER, Part};
pub use command::main;
pub use flash::{FlashReport, FlashTarget, Host, ImageFile, Unwatched, flash};
pub use output::cpio::Cpio;
pub use output::sparse::Sparse;
pub use report::{exit_code, print};
pub use running::{Registration, cluster, machine};
pub use target::Target;
pub use tree::{Because, ElfFile, ImageUnits, Libc, NodeOrigin, Tree, TreeNode};
pub use verify::copy;
