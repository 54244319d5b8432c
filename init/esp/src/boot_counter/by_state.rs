//! Counting by the boot state. Each change is one write of one copy, and what it names is on the
//! medium before.

use std::io;

use octet_bundle::{BootEntry, SLOTS, SlotEnv, SlotName, SlotState};

use super::{EspPlan, Manifest};
use crate::boot_state::{BootState, PlacedSlot, SlotPlace, TriesLeft};
use crate::contents::{EspContents, MAX_ENTRY};
use crate::medium::{Medium, staged, write_whole};

/// The state that counts.
fn read(medium: &impl Medium) -> io::Result<BootState> {
    BootState::newest(&medium.boot_state()?).ok_or_else(none_valid)
}

fn none_valid() -> io::Error {
    io::Error::other("neither copy of the boot state is valid: restart, which makes it again")
}

/// Writes what `change` makes of the state, if it changes it. Returns whether it did.
fn change(
    medium: &mut impl Medium,
    change: impl FnOnce(&mut BootState) -> io::Result<()>,
) -> io::Result<bool> {
    let mut is_changed = false;
    medium.change_boot_state(|copies| {
        let before = BootState::newest(copies).ok_or_else(none_valid)?;
        let mut state = before.clone();
        change(&mut state)?;
        is_changed = state != before;
        if !is_changed {
            return Ok(None);
        }
        state.write_over(copies).map(Some).map_err(io::Error::other)
    })?;
    Ok(is_changed)
}

/// The file of `place`; `None` if there is no usable one.
///
/// # Errors
/// The medium refuses.
pub fn read_env(medium: &impl Medium, place: SlotPlace) -> io::Result<Option<SlotEnv>> {
    let text = match medium.read(&place.env_path(), MAX_ENTRY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    Ok(SlotEnv::parse(&String::from_utf8_lossy(&text)))
}

/// Writes the file of `place`. While it is replaced there is none, so no slot must depend on it.
///
/// # Errors
/// The medium refuses.
pub fn write_env(medium: &mut impl Medium, place: SlotPlace, env: &SlotEnv) -> io::Result<()> {
    let path = place.env_path();
    write_whole(medium, &staged(&path), env.render().as_bytes())?;
    if medium.list(SLOTS)?.iter().any(|item| format!("{SLOTS}/{}", item.name) == path) {
        medium.remove(&path)?;
        medium.sync()?;
    }
    medium.rename(&staged(&path), &path)?;
    medium.sync()
}

/// The slot that the file of `place` names; `None` if there is no usable file.
fn slot_of_env(medium: &impl Medium, place: SlotPlace) -> io::Result<Option<SlotName>> {
    Ok(read_env(medium, place)?.map(|env| env.slot))
}

pub fn slot_state(medium: &impl Medium, slot: &SlotName) -> io::Result<Option<SlotState>> {
    let state = read(medium)?;
    let slot = state.place_of(slot).and_then(|place| state.slot(place));
    Ok(slot.map(|slot| slot.tries.state()))
}

/// A slot that the state does not name is not counted.
pub fn is_marked_good(medium: &impl Medium, slot: &SlotName) -> io::Result<bool> {
    Ok(slot_state(medium, slot)?.is_none_or(|state| state == SlotState::Good))
}

pub fn mark_good(medium: &mut impl Medium, slot: &SlotName) -> io::Result<()> {
    let mark = |state: &mut BootState| {
        let place = state.place_of(slot);
        if let Some(slot) = place.and_then(|place| state.slot_mut(place).as_mut()) {
            slot.tries = TriesLeft::Good;
        }
        Ok(())
    };
    change(medium, mark).map(drop)
}

pub fn restore(medium: &mut impl Medium, running: &SlotName) -> io::Result<bool> {
    if BootState::newest(&medium.boot_state()?).is_some() {
        return Ok(false);
    }
    let [a, b] = SlotPlace::BOTH.map(|place| slot_of_env(medium, place));
    let state = BootState::restored([a?, b?], running).ok_or_else(|| {
        let [a, b] = SlotPlace::BOTH.map(SlotPlace::env_path);
        io::Error::other(format!(
            "neither copy of the boot state is valid, and neither {a} nor {b} names the slot {running}"
        ))
    })?;
    medium
        .change_boot_state(|copies| state.write_over(copies).map(Some).map_err(io::Error::other))?;
    Ok(true)
}

pub fn vacate(medium: &mut impl Medium, running: &SlotName) -> io::Result<bool> {
    change(medium, |state| {
        let place = state.place_of(running).ok_or_else(|| {
            io::Error::other(format!("the boot state does not name the slot {running}"))
        })?;
        state.first = place;
        *state.slot_mut(place.other()) = None;
        Ok(())
    })
}

pub fn add_slot(
    medium: &mut impl Medium,
    manifest: &Manifest,
    plan: &EspPlan,
    on_trial: bool,
) -> io::Result<()> {
    let free = |state: &BootState| {
        let free = SlotPlace::BOTH.into_iter().find(|place| state.slot(*place).is_none());
        free.ok_or_else(|| io::Error::other("both places of the boot state have a slot"))
    };
    let place = free(&read(medium)?)?;
    let [linux, initrd] = plan.entry_paths(manifest);
    let dtb = plan.dtb_path(manifest);
    let (linux, initrd, dtb) = (linux.as_str(), initrd.as_str(), dtb.as_deref());
    let entry = BootEntry { manifest, linux, initrd, dtb, on_trial };
    write_env(medium, place, &entry.env())?;
    let add = |state: &mut BootState| {
        if free(state)? != place {
            return Err(io::Error::other("the boot state was changed by somebody else"));
        }
        *state.slot_mut(place) = Some(PlacedSlot::new(manifest.slot.clone()));
        state.first = place;
        Ok(())
    };
    change(medium, add).map(drop)
}

pub fn roll_back(medium: &mut impl Medium, running: &SlotName, other: &SlotName) -> io::Result<()> {
    let turn = |state: &mut BootState| {
        let place = state
            .place_of(running)
            .filter(|place| state.slot(place.other()).is_some_and(|slot| slot.name == *other));
        let Some(place) = place else {
            let names = format!("the boot state does not name the slots {running} and {other}");
            return Err(io::Error::other(names));
        };
        state.first = place.other();
        if let Some(slot) = state.slot_mut(place) {
            slot.tries = TriesLeft::Count(0);
        }
        Ok(())
    };
    change(medium, turn).map(drop)
}

/// A slot is there if the state names it, and its place's file, too. Entries of others, and files of
/// places with another slot, are what an installation has left.
pub fn complete(medium: &impl Medium, present: &mut EspContents) -> io::Result<()> {
    let state = read(medium)?;
    let mut places = vec![];
    for place in SlotPlace::BOTH {
        let named = state.slot(place).map(|slot| &slot.name);
        let is_there = named.is_some() && slot_of_env(medium, place)?.as_ref() == named;
        if is_there {
            places.extend(state.slot(place));
        }
        let path = place.env_path();
        for item in medium.list(SLOTS)? {
            let file = format!("{SLOTS}/{}", item.name);
            if file == staged(&path) || file == path && !is_there {
                present.unfinished.push(file);
            }
        }
    }
    for mut slot in std::mem::take(&mut present.slots) {
        match places.iter().find(|placed| placed.name == slot.name) {
            Some(placed) => {
                slot.state = placed.tries.state();
                present.slots.push(slot);
            }
            None => present.unfinished.extend(slot.entries),
        }
    }
    present.boot_state = Some(state);
    Ok(())
}
