//! The paths that a unit may use (Landlock; Linux, userspace-api/landlock.rst).
//!
//! Besides what `sandbox.read` and `sandbox.write` name, every unit may use what no program does
//! without: its own program, /tmp and its data folder, the devices that it sees, and what the
//! kernel says about the process itself (`/proc/self`). Not more: a program with shared libraries
//! must name them (`/lib`, `/usr/lib`), one that asks for names of hosts `/etc/resolv.conf`, one
//! that asks for its processors by their control group `/sys/fs/cgroup`. Sockets of other units are
//! no matter of Landlock, neither to connect to nor passed as descriptors, but for abstract ones:
//! units with `network = "own"` cannot connect to those (see `network`).

use std::io;
use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use octet_appliance::{NetworkAccess, TreePath};
use rustix::fs::{Mode, OFlags, open};

use super::child::ChildState;
use super::failure::SpawnFailure;

/// Rights that a kernel must know how to hold back: those of the first Landlock (Linux 5.13).
const REQUIRED: ABI = ABI::V1;

/// Rights that are held back by kernels that know them: moving between folders (5.19), truncation
/// (6.2), ioctls of devices (6.10).
const KNOWN: ABI = ABI::V5;

/// Restricts the process for good. A path that is not there is an error, as what would appear there
/// later would be out of its reach, and nobody would know why. Needs `CAP_SYS_ADMIN`, as `no_new_privs` comes later, or never.
pub fn restrict(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    let sandbox = &start.order.unit.sandbox;
    if sandbox.write.iter().any(TreePath::is_all) {
        return Ok(());
    }
    let all = AccessFs::from_all(KNOWN);
    let read = AccessFs::from_read(KNOWN);
    let devices = AccessFs::from_file(KNOWN) & !AccessFs::Execute | AccessFs::ReadDir;

    let mut rules: Vec<(&str, BitFlags<AccessFs>)> =
        vec![(start.program, read), ("/tmp", all), ("/dev", devices), ("/proc/self", read)];
    rules.extend(start.folders.iter().map(|folder| (folder.as_str(), all)));
    rules.extend(sandbox.read.iter().map(|path| (path.as_str(), read)));
    rules.extend(sandbox.write.iter().map(|path| (path.as_str(), all)));

    let mut opened = Vec::with_capacity(rules.len());
    for (path, access) in rules {
        let why = if path == start.program { "execute" } else { "allow it the path" };
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(SpawnFailure::to(format_args!("{why} {path}")))?;
        opened.push(PathBeneath::new(file, access));
    }
    let alone = sandbox.network == NetworkAccess::Own;
    start.scoped = apply(all, opened, alone)
        .map_err(|error| SpawnFailure::new("restrict its paths", io::Error::other(error)))?;
    Ok(())
}

/// Restricts the process to `rules`, and, if it is to be `alone` and the kernel knows how (Linux
/// 6.12), to abstract sockets of its own. Returns whether it did the latter.
fn apply(
    all: BitFlags<AccessFs>,
    rules: Vec<PathBeneath<OwnedFd>>,
    alone: bool,
) -> Result<bool, RulesetError> {
    let required = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(REQUIRED))
    };
    let scoped = if alone { required()?.scope(Scope::AbstractUnixSocket).ok() } else { None };
    let is_scoped = scoped.is_some();
    let ruleset = scoped
        .map_or_else(required, Ok)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?;
    let rules = rules.into_iter().map(Ok::<_, RulesetError>);
    ruleset.no_new_privs(false).add_rules(rules)?.restrict_self()?;
    Ok(is_scoped)
}
