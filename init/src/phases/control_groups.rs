//! `control-groups`: without them nothing bounds a unit, and its processes are found by session
//! only.

use super::BootFacts;
use crate::cgroup::Cgroups;

/// Mounts cgroup v2, and makes the group of all units.
pub fn run(boot: &mut BootFacts) -> Result<(), String> {
    boot.cgroups = Some(Cgroups::mount()?);
    Ok(())
}
