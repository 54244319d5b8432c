//! What is to be done so that an update becomes a slot. Pure: from what is there and what is
//! offered to a list, or to the reason why not.

use octet_bundle::Manifest;
use octet_esp::plan::{EspPlan, place};
use octet_esp::present::{EspContents, PresentSlot};

use crate::refusal::UpdateRefusal;

#[derive(Debug, Clone, Copy)]
pub struct This<'a> {
    pub running: &'a str,
    /// The floor that is remembered.
    pub floor: u64,
}

/// Slots that stay whatever comes: the one that runs, and the one to go back to.
///
/// # Errors
/// The running slot is not there.
pub fn kept<'a>(
    present: &'a EspContents,
    running: &str,
) -> Result<Vec<&'a PresentSlot>, UpdateRefusal> {
    let slot = present.slot(running).ok_or(UpdateRefusal::NoSlot)?;
    Ok([Some(slot), present.last_good(running)].into_iter().flatten().collect())
}

/// Plans to take `update`.
///
/// # Errors
/// It is not to be taken; see [`Refusal`].
pub fn plan(
    present: &EspContents,
    this: This<'_>,
    update: &Manifest,
) -> Result<EspPlan, UpdateRefusal> {
    let kept = kept(present, this.running)?;
    let running = kept[0].manifest.as_ref();
    let running = running.ok_or_else(|| UpdateRefusal::NoManifest(this.running.to_owned()))?;
    check(running, present.floor().max(this.floor), update)?;
    if kept.iter().any(|slot| slot.name == update.slot) {
        return Err(UpdateRefusal::InUse(update.slot.to_string()));
    }
    Ok(place(present, &kept, update)?)
}

/// Whether `update` may follow `running`.
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
