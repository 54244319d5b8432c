//! What is to be done so that a slot has a place: pure, from what is there to a list.

use octet_bundle::{Manifest, SlotFile};

use crate::present::{EspContents, PresentSlot};

/// Bytes beyond the files that a slot takes: its manifest and entry, folders, and the ends of
/// clusters.
const BESIDES: u64 = 256 << 10;

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EspPlan {
    /// What goes first: entries of slots that are not kept. Once that is on the medium the boot
    /// loader does not know them any more.
    pub entries: Vec<String>,
    /// Files that nobody needs then.
    pub files: Vec<String>,
    /// Folders that are empty then.
    pub folders: Vec<String>,
    /// Files of the new slot that another slot has already, and where.
    pub shared: Vec<(SlotFile, String)>,
    /// Files of the new slot that are to be written.
    pub written: Vec<SlotFile>,
}

/// Even without the slots that may go there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    pub needed: u64,
    /// Bytes that are free once all that may go is gone.
    pub free: u64,
}

impl EspPlan {
    /// Where a file of the slot will be.
    pub fn path(&self, manifest: &Manifest, kind: SlotFile) -> String {
        let shared = self.shared.iter().find(|(shared, _)| *shared == kind);
        shared.map_or_else(|| manifest.slot.file(kind), |(_, path)| path.clone())
    }
}

/// Plans a place for the slot `new`, which is none of `kept`: what is not kept goes.
pub fn place(
    present: &EspContents,
    kept: &[&PresentSlot],
    new: &Manifest,
) -> Result<EspPlan, NoRoom> {
    let mut plan = clear(present, kept);
    let mut needed = BESIDES;
    for kind in SlotFile::ALL {
        let wanted = new.files.get(kind);
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
    let freed: u64 = present.unneeded(kept).map(|(_, size)| size).sum();
    let free = present.free + freed;
    if needed > free { Err(NoRoom { needed, free }) } else { Ok(plan) }
}

/// What is to go so that only `kept` is there.
pub fn clear(present: &EspContents, kept: &[&PresentSlot]) -> EspPlan {
    let gone = present.slots.iter().filter(|slot| kept.iter().all(|kept| kept.name != slot.name));
    let entries = gone.flat_map(|slot| &slot.entries).chain(&present.unfinished);
    EspPlan {
        entries: entries.cloned().collect(),
        files: present.unneeded(kept).map(|(path, _)| path.to_owned()).collect(),
        folders: present.emptied(kept).map(str::to_owned).collect(),
        ..EspPlan::default()
    }
}
