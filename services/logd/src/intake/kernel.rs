//! The kernel's log.

use std::io;
use std::os::fd::OwnedFd;

use crate::clock::BothClocks;
use crate::entry::LogSource;
use crate::kmsg::{KernelLog, ReadResult};
use crate::tail::NewLine;

use super::{LogIntake, PipeRead};

/// The maximum number of kernel records per turn.
const RECORDS_AT_ONCE: usize = 64;

impl LogIntake {
    /// Reads the kernel's log from `file`, starting with the first record that is not stored.
    pub fn add_kernel(&mut self, file: OwnedFd) -> io::Result<()> {
        self.kernel = Some(KernelLog::new(file, self.marks.kernel)?);
        Ok(())
    }

    pub fn kernel(&self) -> Option<&KernelLog> {
        self.kernel.as_ref()
    }

    /// Reads kernel records for one turn.
    pub fn take_kernel(&mut self) -> PipeRead {
        for _ in 0..RECORDS_AT_ONCE {
            let Some(kernel) = &mut self.kernel else { return PipeRead::Closed };
            match kernel.read() {
                Ok(ReadResult::Nothing) => return PipeRead::Nothing,
                Ok(ReadResult::Other) => {}
                Ok(ReadResult::Record(record, lost)) => {
                    let now = BothClocks::read();
                    self.marks.kernel = record.sequence + 1;
                    if lost > 0 {
                        self.tail.log(&format!(
                            "{lost} lines of the kernel were overwritten before they were read"
                        ));
                    }
                    if self.kernel_limit.admit(record.text.len(), now.since_start()) {
                        let source = LogSource::Kernel(record.level);
                        let (unit, text) = (self.kernel_unit.clone(), record.text.into());
                        let line = NewLine::new(unit, source, text, now.at_uptime(record.uptime));
                        self.tail.push(line, self.marks.input, self.marks);
                    }
                }
                Err(error) => {
                    self.tail.log(&format!("the kernel's log cannot be read: {error}"));
                    self.kernel = None;
                    return PipeRead::Closed;
                }
            }
        }
        PipeRead::Some
    }
}
