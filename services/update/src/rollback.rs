//! Rolls back to the previous slot.

use octet_bundle::SlotName;
use octet_esp::boot_counter::roll_back;
use octet_esp::contents::EspContents;
use octet_esp::medium::Medium;
use octet_node::control::Failure;

use crate::install::failed;
use crate::plan::RunningSystem;
use crate::refusal::UpdateRefusal;

/// Makes the next boot use the newest other good slot: the running slot gets no tries. Returns the
/// next slot.
///
/// In names of entries, the new name is written before the old one is removed: a power cut leaves
/// the old state, or both names, of which the boot loader uses the old one. In a boot state this is
/// one write.
///
/// # Errors
/// There is no such slot, it is below the floor, or writing fails.
pub fn rollback(medium: &mut impl Medium, this: RunningSystem<'_>) -> Result<SlotName, Failure> {
    let present = EspContents::read(medium).map_err(failed("the EFI system partition"))?;
    let running = present.slot(this.running).ok_or(UpdateRefusal::NoSlot)?;
    let other = present.last_good(this.running).ok_or(UpdateRefusal::NoOther)?;
    let floor = present.floor().max(this.floor);
    if other.sequence < floor {
        let what = format!("slot {}", other.name);
        return Err(UpdateRefusal::BelowFloor { what, sequence: other.sequence, floor }.into());
    }
    for unfinished in &present.unfinished {
        medium.remove(unfinished).map_err(failed(unfinished))?;
    }
    roll_back(medium, running, other).map_err(failed("the tries of the slots"))?;
    Ok(other.name.clone())
}
