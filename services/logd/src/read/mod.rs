//! Reading the log: each client has a [`Cursor`], and gets as much as it has room for at a time.

mod cursor;
mod disk;
mod thread;

pub use cursor::{Cursor, LogQuery};
pub use disk::{Batch, BatchItem, LogReader};
pub use thread::{ReadJob, ReadResponse, serve};
