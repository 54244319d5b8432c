//! The thread that reads for clients: a disk that is slow to read keeps nobody's pipe waiting.

use std::sync::mpsc::{Receiver, Sender};

use crate::wake::Wake;

use super::{Batch, Cursor, Reader};

/// Something to read.
#[derive(Debug)]
pub struct Job {
    /// For which client.
    pub client: u32,
    /// From where.
    pub cursor: Cursor,
}

/// What was read.
#[derive(Debug)]
pub struct Done {
    /// For which client.
    pub client: u32,
    /// Where to go on.
    pub cursor: Cursor,
    /// What was found.
    pub batch: Batch,
}

/// Does `jobs` until there is nobody left to give any. Each client has one job at a time.
pub fn serve(reader: &Reader, jobs: &Receiver<Job>, done: &Sender<Done>, wake: &Wake) {
    for mut job in jobs {
        let batch = reader.batch(&mut job.cursor);
        if done.send(Done { client: job.client, cursor: job.cursor, batch }).is_err() {
            return;
        }
        wake.ring();
    }
}
