//! PID 1 beside its peers: s6, runit and finit, each in a guest with the same kernel, the same
//! machine and the same trivial units, measured by the same program inside.

mod line;
mod loader_cache;
mod octet;
mod peers;
mod programs;
mod root;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic};
use octet_machine::{Machine, MachineError, Tail};

use super::boot::MEMORY;
use super::{guest, packages};
use octet_image::Target;
use octet_image::build::{self, Options};

use line::{ENDS, Run};
use peers::OtherSupervisor;
use programs::Programs;
pub use table::TITLE;

/// Trivial units of each guest.
const UNITS: u32 = 500;

/// What the referee is told: of so many units it kills so many, for at most so many seconds, and
/// rests for so many.
const KILLS: u32 = 100;
const KILLING: u32 = 30;
const QUIET: u32 = 30;

/// No guest takes this long, however busy the host.
const LONGEST: Duration = Duration::from_secs(600);

/// All runs of all systems.
#[derive(Debug, Clone, Default)]
pub struct Supervisors {
    pub runs: usize,
    pub systems: Vec<SystemRuns>,
    /// From the kernel's start until an init that does nothing runs, in seconds.
    pub bare: Vec<f64>,
    /// Octet's PID 1, in bytes.
    pub init: usize,
}

/// All runs of one system.
#[derive(Debug, Clone, Default)]
pub struct SystemRuns {
    /// Its name, with a version for one that is not ours.
    pub name: String,
    pub runs: Vec<Run>,
}

/// A guest did not do what it was for.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the guest of {system} was not measured: {reason}\n{tail}")]
#[diagnostic(help(
    "see tests/guests/src/bin/referee.rs for what it does; a busy host may be late"
))]
struct NotMeasured {
    system: String,
    reason: String,
    tail: Tail,
}

/// More runs than these take longer than all other parts together.
const MAX_RUNS: usize = 3;

/// Runs all of them in turn, `runs` times, so that a busy moment of the host meets each. On x86-64:
/// what differs between supervisors does not hang on the processor.
pub fn measure(options: &Options, runs: usize) -> miette::Result<Supervisors> {
    let runs = runs.min(MAX_RUNS);
    eprintln!("peers      Octet, s6, runit and finit as PID 1, {runs} times in turn");
    let options = Options { target: Target::QemuX86_64, ..options.clone() };
    let built = build::build(&options)?;
    let limit = guest::limit(options.target)?;
    let programs = Programs::compile(options.target)?;
    let unpacked = packages::folder()?;
    let ours = octet::build(&options, &programs, UNITS)?;

    let folder = tempfile::tempdir().into_diagnostic()?;
    let mut guests = vec![("Octet".to_owned(), "octet", ours.initrd)];
    for peer in OtherSupervisor::ALL {
        let name = format!("{} {}", peer.name(), packages::version(&unpacked, peer.name()));
        guests.push((name, peer.name(), peer.initrd(&unpacked, &programs, UNITS)?));
    }
    let mut all = Supervisors { runs, init: ours.init, ..Supervisors::default() };
    for (name, file, initrd) in &guests {
        std::fs::write(folder.path().join(file), initrd).into_diagnostic()?;
        all.systems.push(SystemRuns { name: name.clone(), runs: vec![] });
    }
    for _ in 0..runs {
        all.bare.push(bare(&built.linux, &limit.initrd)?);
        for ((name, file, _), system) in guests.iter().zip(&mut all.systems) {
            let run = one(name, &built.linux, &folder.path().join(file))?;
            eprintln!("           {name}: {}", table::brief(&run));
            system.runs.push(run);
        }
    }
    Ok(all)
}

/// One run of one system.
fn one(name: &str, kernel: &Path, initrd: &Path) -> miette::Result<Run> {
    let machine = Machine::builder(kernel, initrd)
        .memory(MEMORY)
        .kernel_argument(&format!("referee.units={UNITS} referee.kills={KILLS}"))
        .kernel_argument(&format!("referee.seconds={KILLING} referee.quiet={QUIET}"))
        .start()
        .into_diagnostic()?;
    let deadline = Instant::now() + LONGEST;
    let ended = machine.console().wait_for_any(&ENDS, deadline);
    // The line that was seen to begin is there to its end a moment later.
    std::thread::sleep(Duration::from_secs(1));
    let reason = match ended {
        Some(_) => match Run::parse(&machine.console().text(), UNITS) {
            Ok(run) => return Ok(run),
            Err(reason) => reason,
        },
        None => "its referee never came to an end".into(),
    };
    Err(NotMeasured { system: name.to_owned(), reason, tail: machine.tail(20) }.into())
}

/// From the kernel's start to an init that does nothing.
fn bare(kernel: &Path, initrd: &Path) -> miette::Result<f64> {
    let start = || -> Result<Machine, MachineError> {
        let machine = Machine::builder(kernel, initrd).memory(MEMORY).start()?;
        machine.wait_exit(LONGEST)?;
        Ok(machine)
    };
    let machine = start().into_diagnostic()?;
    began(&machine.console().text()).ok_or_else(|| {
        let reason = "its init did not say when it began".into();
        NotMeasured { system: "the bare kernel".into(), reason, tail: machine.tail(20) }.into()
    })
}

/// What the bare init says (tests/guests/src/bin/limit.rs), in seconds.
fn began(console: &str) -> Option<f64> {
    let (_, rest) = console.split_once("octet-limit: init runs, ")?;
    let nanoseconds: u64 = rest.split_once(" ns ")?.0.parse().ok()?;
    Some(nanoseconds as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_when_the_bare_init_began() {
        let console = "x\noctet-limit: init runs, 1500000000 ns after the kernel\n";
        assert_eq!(began(console), Some(1.5));
        assert_eq!(began("octet-limit: init runs, soon"), None);
    }
}
