//! Reads the log in batches: each client has a [`Cursor`].

mod cursor;
mod disk;
mod thread;

pub use cursor::{Cursor, LogQuery};
pub use disk::{Batch, BatchItem, LogReader};
pub use thread::{ReadJob, ReadResponse, serve};
