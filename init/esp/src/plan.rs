//! Plans how to make room for a slot: pure, from the present files to a list of changes.

use octet_bundle::{Manifest, SlotFile};

use crate::contents::{EspContents, PresentSlot};

/// Bytes that a slot needs besides its files: its manifest and entry, folders, and partly used
/// clusters.
const OVERHEAD: u64 = 256 << 10;

/// The changes, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EspPlan {
    /// Entries of slots that are not kept, removed first. Once that is on the medium the boot
    /// loader does not know these slots any more.
    pub entries: Vec<String>,
    /// Files that nothing refers to then.
    pub files: Vec<String>,
    /// Folders that are empty then.
    pub folders: Vec<String>,
    /// Files of the new slot that another slot has already, with their paths.
    pub shared: Vec<(SlotFile, String)>,
    /// Files of the new slot that are to be written.
    pub written: Vec<SlotFile>,
}

/// Even without the slots that may be removed there is not enough room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    pub needed: u64,
    /// Free bytes once everything that may be removed is gone.
    pub free: u64,
}

impl EspPlan {
    /// The path of a file of the new slot.
    pub fn path(&self, manifest: &Manifest, kind: SlotFile) -> String {
        let shared = self.shared.iter().find(|(shared, _)| *shared == kind);
        shared.map_or_else(|| manifest.slot.file(kind), |(_, path)| path.clone())
    }

    /// The paths of kernel and initramfs of the new slot, as its entry names them.
    pub fn entry_paths(&self, manifest: &Manifest) -> [String; 2] {
        [SlotFile::Linux, SlotFile::Initrd].map(|kind| format!("/{}", self.path(manifest, kind)))
    }

    /// The path of its device trees, if it has some, as the file of its place names them.
    pub fn dtb_path(&self, manifest: &Manifest) -> Option<String> {
        let dtb = manifest.files.dtb.is_some();
        dtb.then(|| format!("/{}", self.path(manifest, SlotFile::Dtb)))
    }
}

/// Plans the room for the slot `new`, which is not one of `kept`: everything that is not kept is
/// removed.
pub fn plan_install(
    present: &EspContents,
    kept: &[&PresentSlot],
    new: &Manifest,
) -> Result<EspPlan, NoRoom> {
    let mut plan = plan_cleanup(present, kept);
    let mut needed = OVERHEAD;
    // Where device trees are, only the file of a place says. Without one they are in the slot's own
    // folder.
    let is_recorded = |kind| kind != SlotFile::Dtb || present.boot_state.is_some();
    for (kind, file) in new.files.all() {
        let same = kept.iter().filter(|_| is_recorded(kind)).find_map(|slot| {
            let has = slot.manifest.as_ref()?.files.get(kind)?;
            let path = slot.path(kind)?;
            let is_same = has.sha256 == file.sha256 && has.size == file.size;
            (is_same && present.files.get(path) == Some(&file.size)).then(|| path.clone())
        });
        match same {
            Some(path) => plan.shared.push((kind, path)),
            None => {
                needed += file.size;
                plan.written.push(kind);
            }
        }
    }
    let freed: u64 = present.unneeded(kept).map(|(_, size)| size).sum();
    let free = present.free + freed;
    if needed > free { Err(NoRoom { needed, free }) } else { Ok(plan) }
}

/// The removals that leave only `kept`.
pub fn plan_cleanup(present: &EspContents, kept: &[&PresentSlot]) -> EspPlan {
    let removed =
        present.slots.iter().filter(|slot| kept.iter().all(|kept| kept.name != slot.name));
    let entries = removed.flat_map(|slot| &slot.entries).chain(&present.unfinished);
    EspPlan {
        entries: entries.cloned().collect(),
        files: present.unneeded(kept).map(|(path, _)| path.to_owned()).collect(),
        folders: present.emptied_folders(kept).map(str::to_owned).collect(),
        ..EspPlan::default()
    }
}
