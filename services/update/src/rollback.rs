//! Going back to the slot before.

use octet_bundle::{ENTRIES, EntryName, SlotName};
use octet_node::control::Failure;

use crate::install::failed;
use crate::medium::{Medium, staged, write_whole};
use crate::plan::This;
use crate::present::{ENTRY_MOST, Present};
use crate::refusal::Refusal;

/// Has the next start take the newest other slot that was good: the running one gets the name of one
/// that has no tries left. Returns the slot that comes.
///
/// The new name is on the medium before the old one goes: a cut leaves the box as it was, or both
/// names, of which the boot loader takes the old one.
///
/// # Errors
/// There is no such slot, it is below the floor, or the medium refuses.
pub fn rollback(medium: &mut impl Medium, this: This<'_>) -> Result<SlotName, Failure> {
    let present = Present::read(medium).map_err(failed("the EFI system partition"))?;
    let running = present.slot(this.running).ok_or(Refusal::NoSlot)?;
    let other = present.last_good(this.running).ok_or(Refusal::NoOther)?;
    let floor = present.floor().max(this.floor);
    if other.sequence < floor {
        let what = format!("slot {}", other.name);
        return Err(Refusal::BelowFloor { what, sequence: other.sequence, floor }.into());
    }
    let name = EntryName::tried(&running.name, 0);
    let new = format!("{ENTRIES}/{name}");
    let staged = staged(&format!("{ENTRIES}/octet-{}", running.name));
    for unfinished in &present.unfinished {
        medium.remove(unfinished).map_err(failed(unfinished))?;
    }
    give_name(medium, &running.entries, &new, &staged).map_err(failed(ENTRIES))?;
    Ok(other.name.clone())
}

fn give_name(
    medium: &mut impl Medium,
    entries: &[String],
    new: &str,
    staged: &str,
) -> std::io::Result<()> {
    let old: Vec<_> = entries.iter().filter(|path| *path != new).collect();
    let Some(first) = old.first() else { return Ok(()) };
    let text = medium.read(first, ENTRY_MOST)?;
    write_whole(medium, staged, &text)?;
    if old.len() < entries.len() {
        medium.remove(new)?;
    }
    medium.rename(staged, new)?;
    medium.sync()?;
    old.iter().try_for_each(|path| medium.remove(path))?;
    medium.sync()
}
