//! A process of a node, as its parent sees it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use data_encoding::HEXLOWER;
use octet_coins::SignedTransaction;
use rustix::param::clock_ticks_per_second;

use super::Failed;
use super::node::{Decided, ROLE};

pub struct Process {
    child: Child,
    input: ChildStdin,
}

/// What a process has used since it began.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub cpu: Duration,
    /// Written to the disk, in bytes (`write_bytes`).
    pub written: u64,
}

impl Usage {
    /// What each has written between two times, in bytes.
    pub fn written(before: &[Self], after: &[Self]) -> Vec<u64> {
        before.iter().zip(after).map(|(before, after)| after.written - before.written).collect()
    }
}

impl Process {
    /// Starts the node `number` of a ledger. What it decides goes to `lines`.
    pub fn start(
        folder: &Path,
        number: usize,
        addresses: &[SocketAddr],
        lines: Sender<(usize, Decided)>,
    ) -> Result<Self, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ROLE).arg(folder).arg(number.to_string());
        command.args(addresses.iter().map(ToString::to_string));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Ok(decided) = serde_json::from_str(&line) {
                    let _ = lines.send((number, decided));
                }
            }
        });
        Ok(Self { child, input })
    }

    pub fn submit(&mut self, transaction: &SignedTransaction) -> Result<(), Failed> {
        Ok(writeln!(self.input, "{}", HEXLOWER.encode(&transaction.to_bytes()))?)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub fn usage(&self) -> Result<Usage, Failed> {
        let stat = self.read("stat")?;
        // After the name, which may have blanks: user and system time are the 12th and 13th (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(')').ok_or("stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|word| word.parse::<u64>().unwrap_or(0)).sum();
        let cpu = Duration::from_secs(ticks) / clock_ticks_per_second() as u32;
        Ok(Usage { cpu, written: self.number("io", "write_bytes:")? })
    }

    /// Resident memory, of which so much is anonymous, and the most that was resident, in bytes.
    pub fn memory(&self) -> Result<(u64, u64, u64), Failed> {
        let kilobytes = |name| Ok::<_, Failed>(1024 * self.number("status", name)?);
        Ok((kilobytes("VmRSS:")?, kilobytes("RssAnon:")?, kilobytes("VmHWM:")?))
    }

    fn number(&self, file: &str, name: &str) -> Result<u64, Failed> {
        let text = self.read(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or(name)?;
        Ok(line.split_whitespace().next().ok_or(name)?.parse()?)
    }

    fn read(&self, file: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
