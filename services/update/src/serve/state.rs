//! Work for clients, serialised, on the partition that PID 1 reports.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use octet_appliance::Trust;
use octet_bundle::{Manifest, SlotName};
use octet_esp::contents::EspContents;
use octet_esp::mounted::{Access, MountedEsp};
use octet_node::control::{Failure, FailureCode};
use octet_node::say;

use crate::floor::Floor;
use crate::install::{InstallCounts, OfferedUpdate, failed, install, tidy};
use crate::plan::RunningSystem;
use crate::refusal::UpdateRefusal;
use crate::rollback::rollback;
use crate::running::{self, RunningSlot};
use crate::source::BundleReader;

#[derive(Debug)]
pub struct SharedState {
    floor: Floor,
    /// The marker file during an installation: after a restart it indicates an interrupted one.
    mark: Option<PathBuf>,
    /// Held while the partition is mounted.
    partition: Mutex<()>,
    installing: Mutex<Option<SlotName>>,
}

impl SharedState {
    /// The state in `folder`, if there is one.
    pub fn new(folder: Option<PathBuf>) -> Self {
        let mark = folder.as_ref().map(|folder| folder.join("installing"));
        let (partition, installing) = (Mutex::default(), Mutex::default());
        Self { floor: Floor::new(folder), mark, partition, installing }
    }

    /// The slot that is being written.
    pub fn installing(&self) -> Option<SlotName> {
        self.installing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The slots and the floor; without the slots during an installation.
    pub fn status(&self) -> Result<(RunningSlot, Option<EspContents>, u64), Failure> {
        let running = running_slot()?;
        let Ok(_held) = self.try_lock() else { return Ok((running, None, 0)) };
        let esp = mount(&running, Access::Read)?;
        let present = EspContents::read(&esp).map_err(failed("the EFI system partition"))?;
        let floor = self.floor(&present)?;
        Ok((running, Some(present), floor))
    }

    /// Installs the update from `source`.
    pub fn install(
        &self,
        source: &mut impl BundleReader,
    ) -> Result<(Manifest, InstallCounts), Failure> {
        let _held = self.try_lock()?;
        let trust: Trust = octet_node::section("trust").map_err(|error| {
            let help = "flash the box again: its image is damaged";
            Failure::new(FailureCode::Failed, error.to_string(), help)
        })?;
        let offer = OfferedUpdate::read(source, &trust)?;
        let (running, mut esp) = self.change()?;
        let floor = self.raise_floor(&esp)?;
        let this = RunningSystem { running: running.slot.as_deref().unwrap_or_default(), floor };
        let slot = &offer.manifest.slot;
        self.set_mark(true)?;
        *self.installing.lock().unwrap_or_else(PoisonError::into_inner) = Some(slot.clone());
        say!("installing slot {slot}, sequence {}", offer.manifest.sequence);
        let result = install(&mut esp, source, this, &offer);
        *self.installing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        drop(esp);
        self.set_mark(false)?;
        match &result {
            Ok(counts) => say!(
                "slot {slot} is on trial at the next boot: {} bytes were received",
                counts.received
            ),
            Err(failure) => say!("slot {slot} is not installed: {failure}"),
        }
        result.map(|counts| (offer.manifest, counts))
    }

    /// Makes the next boot use the previous slot.
    pub fn rollback(&self) -> Result<SlotName, Failure> {
        let _held = self.try_lock()?;
        let (running, mut esp) = self.change()?;
        let floor = self.raise_floor(&esp)?;
        let this = RunningSystem { running: running.slot.as_deref().unwrap_or_default(), floor };
        let slot = rollback(&mut esp, this)?;
        say!("the next boot starts slot {slot}");
        Ok(slot)
    }

    /// Removes the remains of an interrupted installation, if there was one.
    pub fn tidy_up(&self) -> Result<(), Failure> {
        if !self.mark.as_ref().is_some_and(|mark| mark.exists()) {
            return Ok(());
        }
        let _held = self.try_lock()?;
        let (running, mut esp) = self.change()?;
        if tidy(&mut esp, running.slot.as_deref().unwrap_or_default())? {
            say!("removed the files of an interrupted update");
        }
        drop(esp);
        self.set_mark(false)
    }

    fn try_lock(&self) -> Result<MutexGuard<'_, ()>, Failure> {
        match self.partition.try_lock() {
            Ok(held) => Ok(held),
            Err(TryLockError::Poisoned(held)) => Ok(held.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(busy("another update is being written, or the slots are being looked at"))
            }
        }
    }

    /// Mounts the partition for changes, unless PID 1 is about to change it.
    fn change(&self) -> Result<(RunningSlot, MountedEsp), Failure> {
        let running = running_slot()?;
        if running.slot.is_none() {
            return Err(UpdateRefusal::NoSlot.into());
        }
        if running.is_ready && !running.is_good {
            return Err(busy("the running slot is about to be marked as good"));
        }
        let esp = mount(&running, Access::Change)?;
        Ok((running, esp))
    }

    /// The floor, which present slots may have raised.
    fn floor(&self, present: &EspContents) -> Result<u64, Failure> {
        let kept = self.floor.read().map_err(failed("the floor"))?;
        Ok(kept.max(present.floor()))
    }

    fn raise_floor(&self, esp: &MountedEsp) -> Result<u64, Failure> {
        let present = EspContents::read(esp).map_err(failed("the EFI system partition"))?;
        let floor = self.floor(&present)?;
        self.floor.raise(floor).map_err(failed("the floor"))?;
        Ok(floor)
    }

    fn set_mark(&self, there: bool) -> Result<(), Failure> {
        let Some(mark) = &self.mark else { return Ok(()) };
        let result = match there {
            true => std::fs::File::create(mark).and_then(|file| file.sync_all()),
            false => std::fs::remove_file(mark),
        };
        match result {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed(&mark.display().to_string())(error))
            }
            _ => Ok(()),
        }
    }
}

fn running_slot() -> Result<RunningSlot, Failure> {
    running::ask().map_err(|error| {
        let message = format!("PID 1 does not say which slot runs: {error}");
        Failure::new(FailureCode::Failed, message, "`status` shows how the box is")
    })
}

fn mount(running: &RunningSlot, access: Access) -> Result<MountedEsp, Failure> {
    let device = running.esp.as_ref().ok_or(UpdateRefusal::NoSlot)?;
    MountedEsp::mount(device, running.boot_state.as_deref(), access).map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::ResourceBusy => busy("PID 1 uses the EFI system partition"),
            _ => failed("the EFI system partition")(error),
        }
    })
}

fn busy(why: &str) -> Failure {
    Failure::new(FailureCode::Busy, why, "ask again in a moment")
}
