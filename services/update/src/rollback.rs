//! Going back to the slot before.

use octet_bundle::{ENTRIES, SlotName};
use octet_esp::medium::Medium;
use octet_esp::present::EspContents;
use octet_esp::steps::set_tries;
use octet_node::control::Failure;

use crate::install::failed;
use crate::plan::This;
use crate::refusal::UpdateRefusal;

/// Has the next start take the newest other slot that was good: the running one gets the name of one
/// that has no tries left. Returns the slot that comes.
///
/// The new name is on the medium before the old one goes: a cut leaves the box as it was, or both
/// names, of which the boot loader takes the old one.
///
/// # Errors
/// There is no such slot, it is below the floor, or the medium refuses.
pub fn rollback(medium: &mut impl Medium, this: This<'_>) -> Result<SlotName, Failure> {
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
    set_tries(medium, running, 0).map_err(failed(ENTRIES))?;
    Ok(other.name.clone())
}
