//! The thread that writes to disk, so that the main loop does not block.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

use crate::file;
use crate::record::ClockRecord;
use crate::run::ClockEvent;

/// The thread's stack size, in bytes.
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
    /// Starts the thread for `folder`, which calls `wake` when a job is done.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(folder: PathBuf, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let ((jobs, to_do), (sender, done)) = (channel(), channel());
        let run = move || {
            for job in to_do {
                let event = match job {
                    Job::Read => ClockEvent::Read(file::read(&folder), file::is_untrusted(&folder)),
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
        // The thread lives as long as this value.
        let _ = self.jobs.send(Job::Read);
    }

    /// Queues writing `record`.
    pub fn write(&self, record: ClockRecord) {
        let _ = self.jobs.send(Job::Write(record));
    }

    /// Queues writing `record`, although it is earlier than the stored one.
    pub fn set_back(&self, record: ClockRecord) {
        let _ = self.jobs.send(Job::SetBack(record));
    }

    /// The result of a finished job, if any.
    pub fn done(&self) -> Option<ClockEvent> {
        self.done.try_recv().ok()
    }
}
