//! `--keep-data`: on a disk that has an Octet, the slot and its entry alone are written, in the
//! steps in which a box takes an update. All else stays: keys, data, which board it is, the boot
//! loader, and other slots as long as there is room.
//!
//! Two things are not as on a box. Nothing runs, so the slot that would start next stands for the
//! one that runs; and a slot whose files are not what its manifest says is none. And a person wants
//! this slot to start, whatever was signed when: it gets a sequence above those that are there.

mod boot_state;

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use octet_bundle::{BootEntry, Manifest, SlotFile, SlotName, SlotState, TRIES};
use octet_esp::contents::{EspContents, PresentSlot};
use octet_esp::fat;
use octet_esp::medium::{Medium, staged, write_whole};
use octet_esp::plan::{EspPlan, plan_cleanup, plan_install};
use octet_esp::steps::{
    ReadBackError, digest, finish, make_room, read_back, set_tries, write_entry,
};

use self::boot_state::{PresentState, StatePlan};
use super::error::{FlashFault, KeepDataError};
use super::slots::Slots;
use super::volume::{BlockDevice, FatVolume};
use crate::output::gpt::PartitionLayout;

/// What is going to be done.
#[derive(Debug)]
pub struct KeepDataPlan {
    /// What the slot of the image is, with the sequence that it gets.
    pub manifest: Manifest,
    pub work: SlotWork,
    pub removed: Vec<SlotName>,
    /// The slot that starts again if the new one does not become good.
    pub fallback: Option<SlotName>,
    layout: PartitionLayout,
    plan: EspPlan,
    state: StatePlan,
    /// A slot that U-Boot found good and systemd-boot did not: it gets its tries back there.
    revived: Option<PresentSlot>,
    repair: fat::RepairPlan,
}

/// What becomes of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotWork {
    /// It is there, and starts next.
    Unchanged,
    /// It is there, and gets its tries back.
    ResetTries(Box<PresentSlot>),
    Write,
}

/// Decides what is to be done so that the slot of `image` is the one that `disk` starts next. Nothing
/// is written.
///
/// # Errors
/// It cannot be done, see [`KeepDataError`].
pub fn plan_slot_update(
    image: (&impl BlockDevice, &PartitionLayout),
    disk: (&impl BlockDevice, Option<PartitionLayout>),
) -> Result<KeepDataPlan, KeepDataError> {
    let mut manifest = manifest(image)?;
    let layout =
        disk.1.ok_or(KeepDataError::NoOctet("it has no EFI system partition of Octet's"))?;
    if layout != *image.1 || layout.data.is_none() {
        return Err(KeepDataError::Layout);
    }
    let (volume, repair) =
        FatVolume::open_repaired(disk.0, layout.esp.clone()).map_err(KeepDataError::Damaged)?;
    let slots = Slots::new(volume, 0).with_boot_state(disk.0, layout.boot_state);
    let present = EspContents::read(&slots).map_err(KeepDataError::Unreadable)?;
    for slot in &present.slots {
        let Some(has) = &slot.manifest else { continue };
        if has.target != manifest.target {
            let [this, image] = [&has.target, &manifest.target].map(ToString::to_string);
            return Err(KeepDataError::OtherTarget { this, image });
        }
    }
    if present.slots.iter().all(|slot| slot.manifest.is_none()) {
        return Err(KeepDataError::NoOctet("no slot on it says what machine it is for"));
    }
    let mut whole: Vec<&PresentSlot> = vec![];
    for slot in &present.slots {
        if is_whole(&slots, &present, slot).map_err(KeepDataError::Unreadable)? {
            whole.push(slot);
        }
    }
    let sound = |slots: &[&PresentSlot]| EspContents {
        slots: slots.iter().map(|slot| (*slot).clone()).collect(),
        ..EspContents::default()
    };
    let work = match sound(&whole).next().filter(|slot| slot.name == manifest.slot) {
        Some(slot) if matches!(slot.state, SlotState::Trying { left: 0, .. }) => {
            SlotWork::ResetTries(Box::new(slot.clone()))
        }
        Some(_) => SlotWork::Unchanged,
        None => SlotWork::Write,
    };
    let state = match layout.boot_state {
        Some(_) => Some(PresentState::read(&slots, &whole).map_err(KeepDataError::Unreadable)?),
        None => None,
    };
    let is_other = |slot: &&PresentSlot| slot.name != manifest.slot;
    let others: Vec<_> = whole.iter().copied().filter(is_other).collect();
    let by_entries = sound(&others);
    let by_entries = by_entries.last_good("").or(by_entries.next());
    let by_entries =
        others.iter().copied().find(|it| by_entries.is_some_and(|by| by.name == it.name));
    let in_state = state.as_ref().and_then(|state| state.kept(&manifest.slot, by_entries));
    let plan = if work == SlotWork::Write {
        // If it is there, another slot starts until it is written anew.
        whole.retain(|slot| slot.name != manifest.slot);
        let highest = present.slots.iter().map(|slot| slot.sequence).max().unwrap_or(0);
        manifest.sequence = manifest.sequence.max(highest.saturating_add(1));
        let reads_other = |slot: &PresentSlot| {
            slot.manifest.as_ref().is_none_or(|other| manifest.data.can_follow(&other.data))
        };
        if let Some(slot) = whole.iter().find(|slot| !reads_other(slot)) {
            return Err(KeepDataError::Data(slot.name.clone()));
        }
        plan_install(&present, &whole, &manifest).or_else(|_| {
            // Then as an update does.
            let there = sound(&whole);
            let next = there.next().map(|slot| slot.name.clone());
            let fallback = next.as_ref().and_then(|next| there.last_good(next.as_str()));
            whole.retain(|slot| {
                Some(&slot.name) == next.as_ref()
                    || fallback.is_some_and(|it| it.name == slot.name)
                    || in_state.as_ref().is_some_and(|it| it.slot.name == slot.name)
            });
            plan_install(&present, &whole, &manifest)
        })?
    } else {
        plan_cleanup(&present, &whole)
    };
    let is_other = |slot: &&PresentSlot| slot.name != manifest.slot;
    let others: Vec<_> = whole.iter().copied().filter(is_other).collect();
    let there = sound(&others);
    let good_in_state = in_state.as_ref().filter(|it| it.is_good()).map(|it| it.slot);
    let fallback = there.last_good("").or(good_in_state).map(|slot| slot.name.clone());
    let has_failed = |slot: &&PresentSlot| matches!(slot.state, SlotState::Trying { left: 0, .. });
    // Only the sequence of a slot that is written is above all others.
    let revived = good_in_state.filter(has_failed).filter(|_| work == SlotWork::Write).cloned();
    let state = state.map(|state| {
        // Files that are there already may be another slot's.
        let present =
            whole.iter().find(|slot| work != SlotWork::Write && slot.name == manifest.slot);
        let path = |kind| match present.and_then(|slot| slot.path(kind)) {
            Some(path) => format!("/{path}"),
            None => format!("/{}", plan.path(&manifest, kind)),
        };
        let (linux, initrd) = (path(SlotFile::Linux), path(SlotFile::Initrd));
        let dtb = manifest.files.dtb.is_some().then(|| path(SlotFile::Dtb));
        let on_trial = fallback.is_some() && in_state.is_some();
        let (linux, initrd, dtb) = (linux.as_str(), initrd.as_str(), dtb.as_deref());
        let entry = BootEntry { manifest: &manifest, linux, initrd, dtb, on_trial };
        state.plan(in_state.as_ref(), &entry, work == SlotWork::Write)
    });
    let state = state.unwrap_or_default();
    let is_gone = |slot: &&PresentSlot| others.iter().all(|other| other.name != slot.name);
    let removed = present.slots.iter().filter(is_other).filter(is_gone);
    let removed = removed.map(|slot| slot.name.clone()).collect();
    Ok(KeepDataPlan { manifest, work, removed, fallback, layout, plan, state, revived, repair })
}

/// What the one slot of an image is.
fn manifest(
    (image, layout): (&impl BlockDevice, &PartitionLayout),
) -> Result<Manifest, KeepDataError> {
    let volume = FatVolume::open(image, layout.esp.clone());
    let slots = Slots::new(volume.map_err(|why| KeepDataError::Image(why.to_string()))?, 0);
    let present = EspContents::read(&slots).map_err(|why| KeepDataError::Image(why.to_string()))?;
    let manifest = present.slots.into_iter().find_map(|slot| slot.manifest);
    manifest.ok_or_else(|| KeepDataError::Image("it has no manifest".into()))
}

/// Whether the files that a slot starts from are there and what its manifest says.
fn is_whole(slots: &impl Medium, present: &EspContents, slot: &PresentSlot) -> io::Result<bool> {
    for path in &slot.files {
        if !present.files.contains_key(path) {
            return Ok(false);
        }
    }
    let Some(manifest) = &slot.manifest else { return Ok(true) };
    for (kind, file) in manifest.files.all() {
        let Some(path) =
            slot.path(kind).filter(|path| present.files.get(*path) == Some(&file.size))
        else {
            return Ok(false);
        };
        if digest(slots, path, file.size)? != file.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

impl KeepDataPlan {
    /// Whether the disk is as it has to be.
    pub fn is_done(&self) -> bool {
        let is_tidy = self.plan == EspPlan::default() && self.repair.stages.is_empty();
        self.work == SlotWork::Unchanged && is_tidy && self.state == StatePlan::default()
    }

    /// Bytes of the files that are written.
    pub fn size(&self) -> u64 {
        let files = self.manifest.files.all();
        files.filter(|(kind, _)| self.plan.written.contains(kind)).map(|(_, file)| file.size).sum()
    }

    /// What becomes of the disk and of what is on it.
    pub fn describe(&self) -> String {
        let slot = &self.manifest.slot;
        let what = match self.work {
            SlotWork::Write => format!("slot {slot} and its boot entry are written"),
            SlotWork::ResetTries(_) => format!("slot {slot} is there, and is tried again"),
            SlotWork::Unchanged => format!("slot {slot} is there, and starts next"),
        };
        let names: Vec<_> = self.removed.iter().map(SlotName::as_str).collect();
        let gone = match &names[..] {
            [] => String::new(),
            names => format!(" In its place goes: {}.", names.join(", ")),
        };
        format!("Keys and data are kept: {what}, and nothing else.{gone}")
    }

    /// Does it. Returns how many bytes were written and read back.
    ///
    /// # Errors
    /// The disk or the image fails. What starts then is what started before, or the new slot.
    pub fn apply(
        &self,
        (image, of_image): (&impl BlockDevice, &PartitionLayout),
        disk: &impl BlockDevice,
    ) -> Result<u64, FlashFault> {
        let open = |error: fat::FatProblem| FlashFault::Esp(io::Error::other(error.to_string()));
        let mut volume = FatVolume::open(disk, self.layout.esp.clone()).map_err(open)?;
        volume.repair(&self.repair)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let slots = Slots::new(volume, u32::try_from(now).unwrap_or(u32::MAX));
        let mut slots = slots.with_boot_state(disk, self.layout.boot_state);
        self.state.begin(&mut slots)?;
        if let Some(slot) = &self.revived {
            set_tries(&mut slots, slot, TRIES)?;
        }
        if self.plan != EspPlan::default() {
            make_room(&mut slots, &self.plan)?;
        }
        match &self.work {
            SlotWork::Unchanged => {}
            SlotWork::ResetTries(slot) => set_tries(&mut slots, slot, TRIES)?,
            SlotWork::Write => {
                let image = FatVolume::open(image, of_image.esp.clone()).map_err(open)?;
                self.write(&Slots::new(image, 0), &mut slots)?;
            }
        }
        self.state.finish(&mut slots)?;
        Ok(slots.close()?.written)
    }

    /// As `update` does: files, their names, all read back, the entry.
    fn write(&self, image: &impl Medium, slots: &mut impl Medium) -> Result<(), FlashFault> {
        let manifest = &self.manifest;
        slots.make_folder(&manifest.slot.folder())?;
        let mut written = vec![];
        for (kind, file) in manifest.files.all() {
            if !self.plan.written.contains(&kind) {
                continue;
            }
            let path = manifest.slot.file(kind);
            let mut bytes = vec![0; usize::try_from(file.size).unwrap_or(usize::MAX)];
            image.read_at(&path, 0, &mut bytes)?;
            write_whole(slots, &staged(&path), &bytes)?;
            written.push(path);
        }
        let path = manifest.slot.manifest();
        write_whole(slots, &staged(&path), &manifest.render())?;
        written.push(path);
        finish(slots, &written)?;
        slots.reopen()?;
        read_back(slots, manifest, &self.plan).map_err(|not_there| match not_there {
            ReadBackError::Unreadable(_, error) => FlashFault::from(error),
            differs => FlashFault::Esp(io::Error::other(differs)),
        })?;
        write_entry(slots, manifest, &self.plan, self.fallback.is_some())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
