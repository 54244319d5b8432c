//! `control-groups`: without them units have no limits, and their processes are found by session
//! only.

use super::BootFacts;
use crate::cgroup::Cgroups;

/// Mounts cgroup v2, and makes the parent group of all units.
pub fn run(boot: &mut BootFacts) -> Result<(), String> {
    boot.cgroups = Some(Cgroups::mount()?);
    Ok(())
}
