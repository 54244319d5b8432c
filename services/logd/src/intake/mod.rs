//! Turns the units' pipes and the kernel's log into entries of the tail.

mod clear;
mod drops;
mod kernel;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::BothClocks;
use crate::entry::{KERNEL, LogSource};
use crate::journal::{Journal, PipeChunk};
use crate::kmsg::KernelLog;
use crate::limit::Limiter;
use crate::lines::{Line, Splitter};
use crate::rates::UnitRates;
use crate::store::Marks;
use crate::tail::{NewLine, Tail};

/// The maximum read from one pipe per turn, in bytes, so that a flooding unit does not starve
/// others.
const AT_ONCE: usize = 16 << 10;

pub struct LogIntake {
    tail: Arc<Tail>,
    journal: Option<Journal>,
    pipes: Vec<Pipe>,
    kernel: Option<KernelLog>,
    kernel_limit: Limiter,
    kernel_unit: Arc<str>,
    marks: Marks,
    /// The journal's size at which it is cleared next.
    look_at: u64,
    no_room_told: Duration,
}

struct Pipe {
    unit: Arc<str>,
    file: OwnedFd,
    lines: Splitter,
    limit: Limiter,
}

/// The result of reading a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipeRead {
    Some,
    /// No more data for now.
    Nothing,
    /// End of file.
    Closed,
}

impl LogIntake {
    /// Reads `pipes`, each with the name of its unit. `kept` are the marks of what is on disk
    /// already.
    pub fn new(
        tail: Arc<Tail>,
        pipes: Vec<(String, OwnedFd)>,
        rates: &UnitRates,
        journal: Option<Journal>,
        kept: Marks,
    ) -> Self {
        let pipe = |(unit, file): (String, OwnedFd)| Pipe {
            limit: Limiter::new(rates.of(&unit)),
            unit: unit.into(),
            file,
            lines: Splitter::default(),
        };
        let pipes: Vec<Pipe> = pipes.into_iter().map(pipe).collect();
        let id = journal.as_ref().map_or(0, Journal::id);
        let input = if kept.journal == id { kept.input } else { 0 };
        let marks = Marks { journal: id, input, ..kept };
        {
            let mut state = tail.lock();
            state.marks = marks;
            for unit in pipes.iter().map(|pipe| &pipe.unit) {
                state.stats.unit(unit);
            }
        }
        Self {
            tail,
            journal,
            pipes,
            kernel: None,
            kernel_limit: Limiter::new(rates.of(KERNEL)),
            kernel_unit: KERNEL.into(),
            marks,
            look_at: clear::MUCH,
            no_room_told: Duration::ZERO,
        }
    }

    /// The pipes, in the order of their indices.
    pub fn pipes(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        self.pipes.iter().map(|pipe| (&*pipe.unit, &pipe.file))
    }

    /// Replays the journal that the previous logd has left, except for lines on disk. (A line
    /// longer than [`LONGEST`](crate::entry::LONGEST) may be split at other places.)
    pub fn replay(&mut self, chunks: Vec<PipeChunk>) {
        for chunk in chunks {
            if let Some(index) = self.pipes.iter().position(|pipe| *pipe.unit == *chunk.unit) {
                if chunk.restates {
                    self.pipes[index].lines.clear();
                }
                self.split(index, chunk);
            } else {
                // A unit that no longer exists writes no more, so its last line is complete.
                let end = chunk.at + chunk.bytes.len() as u64;
                let (unit, mut lines) = (Arc::<str>::from(&*chunk.unit), Splitter::default());
                let mut whole = vec![];
                lines.push(chunk.at, &chunk.bytes, |line| whole.push(line));
                whole.extend(lines.finish(end));
                for line in whole {
                    self.add_line(&unit, line, chunk.now);
                }
            }
        }
    }

    /// Reads pipe `index` once.
    pub fn read_pipe(&mut self, index: usize) -> io::Result<PipeRead> {
        let Some(pipe) = self.pipes.get(index) else { return Ok(PipeRead::Closed) };
        let now = BothClocks::read();
        let chunk = match &mut self.journal {
            Some(journal) => match journal.take(&pipe.file, &pipe.unit, now, AT_ONCE) {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.disable_journal(&error);
                    return Ok(PipeRead::Some);
                }
            },
            None => read(pipe, now, self.marks.input)?,
        };
        Ok(match chunk {
            None => PipeRead::Nothing,
            Some(chunk) if chunk.bytes.is_empty() => PipeRead::Closed,
            Some(chunk) => {
                self.split(index, chunk);
                self.clear_journal();
                PipeRead::Some
            }
        })
    }

    fn split(&mut self, index: usize, chunk: PipeChunk) {
        let mut whole = vec![];
        let pipe = &mut self.pipes[index];
        let end = chunk.at + chunk.bytes.len() as u64;
        pipe.lines.push(chunk.at, &chunk.bytes, |line| whole.push(line));
        let unit = pipe.unit.clone();
        for line in whole {
            if line.end > self.marks.input || self.journal.is_none() {
                let now = chunk.now;
                if self.pipes[index].limit.admit(line.text.len(), now.since_start()) {
                    self.add_line(&unit, line, now);
                }
            }
        }
        if self.journal.is_none() {
            self.marks.input = end;
        }
    }

    fn add_line(&mut self, unit: &Arc<str>, line: Line, now: BothClocks) {
        if self.journal.is_some() {
            if line.end <= self.marks.input {
                return;
            }
            self.marks.input = line.end;
        }
        let new = NewLine::new(unit.clone(), LogSource::Output, line.text, now);
        self.tail.push(new, line.start, self.marks);
    }

    /// Keeps lines without a newline as they are.
    pub fn finish(&mut self) {
        let end = self.journal.as_ref().map_or(self.marks.input, Journal::end);
        for index in 0..self.pipes.len() {
            let pipe = &mut self.pipes[index];
            if let Some(line) = pipe.lines.finish(end)
                && pipe.limit.admit(line.text.len(), BothClocks::read().since_start())
            {
                let unit = pipe.unit.clone();
                let start = line.start;
                self.marks.input = end;
                let new = NewLine::new(unit, LogSource::Output, line.text, BothClocks::read());
                self.tail.push(new, start, self.marks);
            }
        }
    }
}

/// Reads `pipe` if there is no journal.
fn read(pipe: &Pipe, now: BothClocks, at: u64) -> io::Result<Option<PipeChunk>> {
    let mut bytes = vec![0; AT_ONCE];
    match rustix::io::read(&pipe.file, &mut bytes[..]) {
        Ok(count) => {
            bytes.truncate(count);
            Ok(Some(PipeChunk { unit: String::new(), now, at, bytes, restates: false }))
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
