//! The paths that a unit may use (Landlock; Linux, userspace-api/landlock.rst).
//!
//! Besides what `sandbox.read` and `sandbox.write` name, every unit may use what every program
//! needs: its own program, /tmp and its data folder, the devices that it sees, and the kernel's
//! information about the process itself (`/proc/self`). Nothing more: a program with shared
//! libraries must name them (`/lib`, `/usr/lib`), one that resolves host names `/etc/resolv.conf`,
//! and one that reads its CPU limits from its control group `/sys/fs/cgroup`. Landlock does not
//! restrict sockets of other units, neither connecting nor passed descriptors, except abstract
//! ones: units with `network = "own"` cannot connect to those (see `network`).

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

/// Access rights that the kernel must be able to restrict: those of the first Landlock ABI (Linux
/// 5.13).
const REQUIRED: ABI = ABI::V1;

/// Access rights that are restricted by kernels that know them: moving between folders (5.19),
/// truncation (6.2), ioctls of devices (6.10).
const KNOWN: ABI = ABI::V5;

/// Restricts the process permanently. A missing path is an error: what appears there later would
/// not be accessible, for no visible reason. Needs `CAP_SYS_ADMIN`, as `no_new_privs` comes later,
/// or never.
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
            .map_err(SpawnFailure::context(format_args!("{why} {path}")))?;
        opened.push(PathBeneath::new(file, access));
    }
    let alone = sandbox.network == NetworkAccess::Own;
    start.scoped = apply(all, opened, alone)
        .map_err(|error| SpawnFailure::new("restrict its paths", io::Error::other(error)))?;
    Ok(())
}

/// Restricts the process to `rules`, and, if it is to be `alone` and the kernel supports it (Linux
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
