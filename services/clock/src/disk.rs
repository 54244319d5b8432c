//! The thread that waits for the disk, so that nobody else has to.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

use crate::file;
use crate::record::ClockRecord;
use crate::run::ClockEvent;

/// Room for its stack, in bytes.
const STACK: usize = 64 << 10;

enum Job {
    Read,
    Write(ClockRecord),
    SetBack(ClockRecord),
}

#[derive(Debug)]
pub struct ClockDisk {
    jobs: Sender<Job>,
    done: Receiver<ClockEvent>,
}

impl ClockDisk {
    /// Works in `folder`, and calls `wake` when something is done.
    ///
    /// # Errors
    /// There are no threads to be had.
    pub fn start(folder: PathBuf, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let ((jobs, to_do), (sender, done)) = (channel(), channel());
        let run = move || {
            for job in to_do {
                let event = match job {
                    Job::Read => ClockEvent::Read(file::read(&folder), file::is_doubted(&folder)),
                    Job::SetBack(record) => {
                        ClockEvent::Written(record.until, file::set_back(&folder, record))
                    }
                    Job::Write(record) => {
                        ClockEvent::Written(record.until, file::write(&folder, record, |_| Ok(())))
                    }
                };
                if sender.send(event).is_err() {
                    return;
                }
                wake();
            }
        };
        Builder::new().name("disk".into()).stack_size(STACK).spawn(run)?;
        Ok(Self { jobs, done })
    }

    pub fn read(&self) {
        // The thread ends only with this.
        let _ = self.jobs.send(Job::Read);
    }

    /// Asks it to keep `record`. It does one thing after the other.
    pub fn write(&self, record: ClockRecord) {
        let _ = self.jobs.send(Job::Write(record));
    }

    /// Asks it to keep `record`, though it is earlier than what was kept.
    pub fn set_back(&self, record: ClockRecord) {
        let _ = self.jobs.send(Job::SetBack(record));
    }

    /// What it has done, if anything.
    pub fn done(&self) -> Option<ClockEvent> {
        self.done.try_recv().ok()
    }
}
