//! The thread that reads for clients, so that a slow disk never delays the pipes.

use std::sync::mpsc::{Receiver, Sender};

use crate::wake::Wake;

use super::{Batch, Cursor, LogReader};

#[derive(Debug)]
pub struct ReadJob {
    pub client: u32,
    pub cursor: Cursor,
}

#[derive(Debug)]
pub struct ReadResponse {
    pub client: u32,
    pub cursor: Cursor,
    pub batch: Batch,
}

/// Processes `jobs` until all senders are gone. Each client has one job at a time.
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
        wake.notify();
    }
}
