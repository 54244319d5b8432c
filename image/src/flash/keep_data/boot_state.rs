//! The boot state of a disk that has one (docs/disk.md, "Tries under U-Boot"). Who flashes a disk does not know which
//! firmware starts it, so afterwards both start the new slot next, and then one that stays: systemd-boot by the
//! entries, U-Boot by the state. The two may name different slots to return to, since only one of them is counted.

use std::io;

use octet_bundle::{BootEntry, SlotEnv, SlotFile, SlotName, SlotState};
use octet_esp::boot_counter::{read_env, write_env};
use octet_esp::boot_state::{BootState, PlacedSlot, SlotPlace, TriesLeft};
use octet_esp::contents::PresentSlot;
use octet_esp::medium::Medium;

/// What the state says, and which slots could start by it.
#[derive(Debug)]
pub struct PresentState<'a> {
    /// The state that counts, if a copy is valid.
    state: Option<BootState>,
    /// Slots that U-Boot can start, in its order.
    usable: Vec<UsableSlot<'a>>,
}

#[derive(Debug, Clone)]
pub struct UsableSlot<'a> {
    pub slot: &'a PresentSlot,
    place: SlotPlace,
    tries: TriesLeft,
    /// Whether its place has its file.
    has_env: bool,
}

/// The changes of the state and of its places' files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StatePlan {
    /// The file of the slot that stays, if its place has another one.
    kept_env: Option<(SlotPlace, SlotEnv)>,
    /// The state as long as the new slot is not complete.
    meanwhile: Option<BootState>,
    env: Option<(SlotPlace, SlotEnv)>,
    last: Option<BootState>,
}

impl<'a> PresentState<'a> {
    /// Reads it. Only slots of `whole` can start.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn read(medium: &impl Medium, whole: &[&'a PresentSlot]) -> io::Result<Self> {
        let state = BootState::newest(&medium.boot_state()?);
        let mut usable = vec![];
        for place in state.as_ref().map_or(SlotPlace::BOTH, BootState::start_order) {
            let Some(env) = read_env(medium, place)? else { continue };
            // Without a valid state U-Boot starts what the files name.
            let tries = match &state {
                Some(state) => {
                    state.slot(place).filter(|it| it.name == env.slot).map(|it| it.tries)
                }
                None => Some(TriesLeft::NEW),
            };
            let slot = whole.iter().find(|slot| slot.name == env.slot && names(slot, &env));
            if let (Some(tries), Some(slot)) = (tries, slot) {
                usable.push(UsableSlot { slot, place, tries, has_env: true });
            }
        }
        Ok(Self { state, usable })
    }

    fn find(&self, name: &SlotName) -> Option<&UsableSlot<'a>> {
        self.usable.iter().find(|it| it.slot.name == *name)
    }

    /// The slot other than `new` that stays in the state: one that is good there, or else the one that
    /// starts. If neither U-Boot nor a box has ever changed the state, then systemd-boot counts, and it is
    /// `by_entries`.
    pub fn kept(
        &self,
        new: &SlotName,
        by_entries: Option<&'a PresentSlot>,
    ) -> Option<UsableSlot<'a>> {
        let mut others = self.usable.iter().filter(|it| it.slot.name != *new);
        if let Some(good) = others.clone().find(|it| it.tries == TriesLeft::Good) {
            return Some(good.clone());
        }
        let is_initial = |state: &BootState| {
            state.a.as_ref().is_some_and(|a| *state == BootState::initial(a.name.clone()))
        };
        let first = others.next();
        if first.is_some() && self.state.as_ref().is_some_and(|state| !is_initial(state)) {
            return first.cloned();
        }
        let by_entries = by_entries.filter(|slot| slot.manifest.is_some() && slot.name != *new);
        let Some(slot) = by_entries else { return first.cloned() };
        if let Some(there) = self.find(&slot.name) {
            return Some(there.clone());
        }
        let place = self.find(new).map_or(SlotPlace::A, |new| new.place.other());
        let tries = match slot.state {
            SlotState::Good => TriesLeft::Good,
            SlotState::Trying { left, .. } => TriesLeft::Count(left.min(9) as u8),
        };
        Some(UsableSlot { slot, place, tries, has_env: false })
    }

    /// What is to be done so that U-Boot starts the slot of `entry` next, and then `kept`. If the slot
    /// `is_written`, nothing of it can be started until it is.
    pub fn plan(
        &self,
        kept: Option<&UsableSlot<'_>>,
        entry: &BootEntry<'_>,
        is_written: bool,
    ) -> StatePlan {
        let name = &entry.manifest.slot;
        let there = self.find(name).filter(|_| !is_written);
        let starts = self.usable.first().filter(|it| it.tries != TriesLeft::Count(0));
        if self.state.is_some() && there.is_some() && starts.is_some_and(|it| it.slot.name == *name)
        {
            return StatePlan::default();
        }
        let place = match (there, kept) {
            (Some(there), _) => there.place,
            (None, Some(kept)) => kept.place.other(),
            (None, None) => SlotPlace::A,
        };
        let mut state = self.state.clone().unwrap_or_else(BootState::empty);
        *state.slot_mut(place) = None;
        *state.slot_mut(place.other()) =
            kept.map(|kept| PlacedSlot { name: kept.slot.name.clone(), tries: kept.tries });
        state.first = place.other();
        let is_new = |state: &BootState| self.state.as_ref() != Some(state);
        let meanwhile = (there.is_none() && is_new(&state)).then(|| state.clone());
        let tries = there.map(|it| it.tries).filter(|tries| *tries != TriesLeft::Count(0));
        *state.slot_mut(place) =
            Some(PlacedSlot { name: name.clone(), tries: tries.unwrap_or(TriesLeft::NEW) });
        state.first = place;
        let kept_env = kept
            .filter(|kept| !kept.has_env)
            .and_then(|kept| Some((kept.place, env_of(kept.slot)?)));
        let env = there.is_none().then(|| (place, entry.env()));
        StatePlan { kept_env, meanwhile, env, last: Some(state) }
    }
}

impl UsableSlot<'_> {
    /// Whether it was good by the state.
    pub fn is_good(&self) -> bool {
        self.tries == TriesLeft::Good
    }
}

/// Whether `env` has U-Boot load files that the entry of `slot` names, too.
fn names(slot: &PresentSlot, env: &SlotEnv) -> bool {
    let has = |path: &str| slot.files.iter().any(|file| *file == path.trim_start_matches('/'));
    has(&env.linux) && has(&env.initrd) && env.dtb.as_ref().is_none_or(|dtb| has(dtb))
}

/// The file of a slot that only entries name. There is no other slot to return to from it.
fn env_of(slot: &PresentSlot) -> Option<SlotEnv> {
    let path = |kind| Some(format!("/{}", slot.path(kind)?));
    let (linux, initrd) = (path(SlotFile::Linux)?, path(SlotFile::Initrd)?);
    let manifest = slot.manifest.as_ref()?;
    let dtb = path(SlotFile::Dtb);
    let (linux, initrd, dtb) = (linux.as_str(), initrd.as_str(), dtb.as_deref());
    Some(BootEntry { manifest, linux, initrd, dtb, on_trial: false }.env())
}

impl StatePlan {
    /// Before anything of another slot is removed.
    ///
    /// # Errors
    /// The disk fails.
    pub fn begin(&self, medium: &mut impl Medium) -> io::Result<()> {
        if let Some((place, env)) = &self.kept_env {
            write_env(medium, *place, env)?;
        }
        self.meanwhile.as_ref().map_or(Ok(()), |state| write(medium, state))
    }

    /// Once all files of the new slot are on the medium.
    ///
    /// # Errors
    /// The disk fails.
    pub fn finish(&self, medium: &mut impl Medium) -> io::Result<()> {
        if let Some((place, env)) = &self.env {
            write_env(medium, *place, env)?;
        }
        self.last.as_ref().map_or(Ok(()), |state| write(medium, state))
    }
}

fn write(medium: &mut impl Medium, state: &BootState) -> io::Result<()> {
    medium.change_boot_state(|copies| {
        state.clone().write_over(copies).map(Some).map_err(io::Error::other)
    })
}
