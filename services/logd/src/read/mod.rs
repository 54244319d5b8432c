//! Reading the log: each client has a [`Cursor`], and gets as much as it has room for at a time.

mod cursor;
mod disk;
mod thread;

pub use cursor::{Cursor, Wanted};
pub use disk::{Batch, Found, Reader};
pub use thread::{Done, Job, serve};
