//! What is to be done so that an update becomes a slot. Pure: from what is there and what is
//! offered to a list, or to the reason why not.

use octet_bundle::{Kind, Manifest};

use crate::present::{Present, Slot};
use crate::refusal::Refusal;

/// Bytes beyond the files that a slot takes: its manifest and entry, folders, and the ends of
/// clusters.
const BESIDES: u64 = 256 << 10;

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What goes first: entries of slots that are not kept. Once that is on the medium the boot
    /// loader does not know them any more.
    pub entries: Vec<String>,
    /// Files that nobody needs then.
    pub files: Vec<String>,
    /// Folders that are empty then.
    pub folders: Vec<String>,
    /// Files of the new slot that another slot has already, and where.
    pub shared: Vec<(Kind, String)>,
    /// Files of the new slot that are to be written.
    pub written: Vec<Kind>,
}

impl Plan {
    /// Where a file of the slot will be.
    pub fn path(&self, manifest: &Manifest, kind: Kind) -> String {
        let shared = self.shared.iter().find(|(shared, _)| *shared == kind);
        shared.map_or_else(|| manifest.slot.file(kind), |(_, path)| path.clone())
    }
}

/// What this box is.
#[derive(Debug, Clone, Copy)]
pub struct This<'a> {
    /// The slot that runs.
    pub running: &'a str,
    /// The floor that is remembered.
    pub floor: u64,
}

/// Slots that stay whatever comes: the one that runs, and the one to go back to.
///
/// # Errors
/// The running slot is not there.
pub fn kept<'a>(present: &'a Present, running: &str) -> Result<Vec<&'a Slot>, Refusal> {
    let slot = present.slot(running).ok_or(Refusal::NoSlot)?;
    Ok([Some(slot), present.last_good(running)].into_iter().flatten().collect())
}

/// Plans to take `update`.
///
/// # Errors
/// It is not to be taken; see [`Refusal`].
pub fn plan(present: &Present, this: This<'_>, update: &Manifest) -> Result<Plan, Refusal> {
    let kept = kept(present, this.running)?;
    let running = kept[0].manifest.as_ref();
    let running = running.ok_or_else(|| Refusal::NoManifest(this.running.to_owned()))?;
    check(running, present.floor().max(this.floor), update)?;
    if kept.iter().any(|slot| slot.name == update.slot) {
        return Err(Refusal::InUse(update.slot.to_string()));
    }
    let mut plan = clear(present, &kept);
    let mut needed = BESIDES;
    for kind in Kind::ALL {
        let wanted = update.files.get(kind);
        let same = kept.iter().find_map(|slot| {
            let has = slot.manifest.as_ref()?.files.get(kind);
            let path = slot.path(kind)?;
            let is_same = has.sha256 == wanted.sha256 && has.size == wanted.size;
            (is_same && present.files.get(path) == Some(&wanted.size)).then(|| path.clone())
        });
        match same {
            Some(path) => plan.shared.push((kind, path)),
            None => {
                needed += wanted.size;
                plan.written.push(kind);
            }
        }
    }
    let freed: u64 = present.unneeded(&kept).map(|(_, size)| size).sum();
    let free = present.free + freed;
    if needed > free {
        return Err(Refusal::NoRoom { needed, free });
    }
    Ok(plan)
}

/// What is to go so that only `kept` is there.
pub fn clear(present: &Present, kept: &[&Slot]) -> Plan {
    let gone = present.slots.iter().filter(|slot| kept.iter().all(|kept| kept.name != slot.name));
    let entries = gone.flat_map(|slot| &slot.entries).chain(&present.unfinished);
    Plan {
        entries: entries.cloned().collect(),
        files: present.unneeded(kept).map(|(path, _)| path.to_owned()).collect(),
        folders: present.emptied(kept).map(str::to_owned).collect(),
        ..Plan::default()
    }
}

/// Whether `update` may follow `running`.
fn check(running: &Manifest, floor: u64, update: &Manifest) -> Result<(), Refusal> {
    if update.target != running.target {
        let (update, this) = (update.target.to_string(), running.target.to_string());
        return Err(Refusal::OtherTarget { update, this });
    }
    if update.sequence < floor {
        let what = "the update".to_owned();
        return Err(Refusal::BelowFloor { what, sequence: update.sequence, floor });
    }
    if update.sequence <= running.sequence {
        let (update, running) = (update.sequence, running.sequence);
        return Err(Refusal::NotNewer { update, running });
    }
    if !update.data.can_follow(&running.data) {
        return Err(Refusal::Data);
    }
    Ok(())
}
