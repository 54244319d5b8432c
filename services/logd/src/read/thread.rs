//! The thread that reads for clients: a disk that is slow to read keeps nobody's pipe waiting.

use std::sync::mpsc::{Receiver, Sender};

use crate::wake::Wake;

use super::{Batch, Cursor, LogReader};

/// Something to read.
#[derive(Debug)]
pub struct ReadJob {
    /// For which client.
    pub client: u32,
    /// From where.
    pub cursor: Cursor,
}

/// What was read.
#[derive(Debug)]
pub struct ReadResponse {
    /// For which client.
    pub client: u32,
    /// Where to go on.
    pub cursor: Cursor,
    /// What was found.
    pub batch: Batch,
}

/// Does `jobs` until there is nobody left to give any. Each client has one job at a time.
pub fn serve(
    reader: &LogReader,
    jobs: &Receiver<ReadJob>,
    done: &Sender<ReadResponse>,
    wake: &Wake,
) {
    for mut job in jobs {
        let batch = reader.batch(&mut job.cursor);
        if done.send(ReadResponse { client: job.client, cursor: job.cursor, batch }).is_err() {
            return;
        }
        wake.ring();
    }
}
