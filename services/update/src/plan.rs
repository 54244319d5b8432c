//! Plans the installation of an update. Pure: from the existing slots and the offered update to a
//! list of actions, or a refusal.

use octet_bundle::Manifest;
use octet_esp::contents::{EspContents, PresentSlot};
use octet_esp::plan::{EspPlan, plan_install};

use crate::refusal::UpdateRefusal;

#[derive(Debug, Clone, Copy)]
pub struct RunningSystem<'a> {
    pub running: &'a str,
    /// The persisted floor.
    pub floor: u64,
}

/// The slots that an update keeps if there is room for a third: the running one, and the fallback.
///
/// # Errors
/// The running slot is missing.
pub fn kept_slots<'a>(
    present: &'a EspContents,
    running: &str,
) -> Result<Vec<&'a PresentSlot>, UpdateRefusal> {
    let slot = present.slot(running).ok_or(UpdateRefusal::NoSlot)?;
    Ok([Some(slot), present.last_good(running)].into_iter().flatten().collect())
}

/// Plans the installation of `update`.
///
/// # Errors
/// The update is refused; see [`UpdateRefusal`].
pub fn plan(
    present: &EspContents,
    system: RunningSystem<'_>,
    update: &Manifest,
) -> Result<EspPlan, UpdateRefusal> {
    let mut kept = kept_slots(present, system.running)?;
    let running = kept[0].manifest.as_ref();
    let running = running.ok_or_else(|| UpdateRefusal::NoManifest(system.running.to_owned()))?;
    check(running, present.floor().max(system.floor), update)?;
    if kept.iter().any(|slot| slot.name == update.slot) {
        return Err(UpdateRefusal::InUse(update.slot.to_string()));
    }
    if present.boot_state.is_some() && kept.len() > 1 {
        // There are two places: the update takes that of the fallback, and the running slot is the
        // one to return to.
        if !kept[0].is_good() {
            return Err(UpdateRefusal::NotGood(system.running.to_owned()));
        }
        kept.truncate(1);
    }
    Ok(plan_install(present, &kept, update)?)
}

/// Checks that `update` may follow `running`.
fn check(running: &Manifest, floor: u64, update: &Manifest) -> Result<(), UpdateRefusal> {
    if update.target != running.target {
        let (update, this) = (update.target.to_string(), running.target.to_string());
        return Err(UpdateRefusal::OtherTarget { update, this });
    }
    if update.sequence < floor {
        let what = "the update".to_owned();
        return Err(UpdateRefusal::BelowFloor { what, sequence: update.sequence, floor });
    }
    if update.sequence <= running.sequence {
        let (update, running) = (update.sequence, running.sequence);
        return Err(UpdateRefusal::NotNewer { update, running });
    }
    if !update.data.can_follow(&running.data) {
        return Err(UpdateRefusal::Data);
    }
    Ok(())
}
