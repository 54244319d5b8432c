//! Installs an update according to the plan; what makes the boot loader start it is written last. At
//! any failure, the running slot and the fallback slot stay intact; where there are only two places
//! for slots, the running one.

use std::io;

use octet_appliance::Trust;
use octet_bundle::{ChunkedFile, Manifest, SlotFile, SlotName};
use octet_esp::boot_counter::{add_slot, vacate};
use octet_esp::contents::EspContents;
use octet_esp::medium::{Medium, staged, write_whole};
use octet_esp::plan::{EspPlan, plan_cleanup};
use octet_esp::steps::{ReadBackError, finish, make_room, read_back};
use octet_node::control::{Failure, FailureCode};
use octet_node::say;
use serde::Serialize;

use crate::assemble::{KnownChunks, assemble};
use crate::patch::make;
use crate::plan::{RunningSystem, kept_slots, plan};
use crate::refusal::UpdateRefusal;
use crate::source::{BundleReader, read_head};
use crate::trust::check;

/// The origin of a slot's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InstallCounts {
    pub size: u64,
    /// Received for it, the head included.
    pub received: u64,
    pub copied: u64,
    /// Patched from files of other slots.
    pub patched: u64,
    /// Shared with another slot's file, and not written again.
    pub shared: u64,
}

/// An update with a trusted signature.
#[derive(Debug)]
pub struct OfferedUpdate {
    pub manifest: Manifest,
    /// The offsets of its files in the bundle.
    starts: Vec<(SlotFile, u64)>,
    /// The offsets of its patches, in the order of the manifest.
    patches: Vec<u64>,
    /// The number of bytes of the head.
    head: u64,
}

impl OfferedUpdate {
    /// Reads and verifies the head of `source`. The medium is not touched.
    ///
    /// # Errors
    /// The update is refused, or the sender has disconnected.
    pub fn read(source: &mut impl BundleReader, trust: &Trust) -> Result<Self, Failure> {
        let head = read_head(source)?.map_err(UpdateRefusal::from)?;
        let manifest = check(&head, trust)?;
        let wanted = head.size(&manifest);
        if let Some(size) = source.size().filter(|size| *size != wanted) {
            return Err(UpdateRefusal::Size { size, wanted }.into());
        }
        let kinds = manifest.files.all().map(|(kind, _)| kind);
        let starts = kinds.map(|kind| (kind, head.file_offset(&manifest, kind))).collect();
        let patches: Vec<u64> =
            (0..manifest.patches.len()).map(|index| head.patch_offset(&manifest, index)).collect();
        Ok(Self { starts, patches, head: head.patch_offset(&manifest, 0), manifest })
    }

    fn start(&self, kind: SlotFile) -> u64 {
        self.starts.iter().find(|(known, _)| *known == kind).map_or(0, |(_, start)| *start)
    }
}

/// Installs `offer`. On failure the written files are removed.
///
/// # Errors
/// The update is refused, the bundle does not match its signature, or writing fails.
pub fn install(
    medium: &mut impl Medium,
    source: &mut impl BundleReader,
    this: RunningSystem<'_>,
    offer: &OfferedUpdate,
) -> Result<InstallCounts, Failure> {
    let read = |medium: &_| EspContents::read(medium).map_err(failed("the EFI system partition"));
    let mut present = read(medium)?;
    let mut planned = plan(&present, this, &offer.manifest)?;
    let running: SlotName = this.running.parse().map_err(|_| UpdateRefusal::NoSlot)?;
    if vacate(medium, &running).map_err(failed("the tries of the slots"))? {
        present = read(medium)?;
        planned = plan(&present, this, &offer.manifest)?;
    }
    let result = carry_out(medium, source, &present, offer, &planned);
    if result.is_err() {
        // A failed removal is repeated before the next update.
        let _ = tidy(medium, this.running);
    }
    result
}

fn carry_out(
    medium: &mut impl Medium,
    source: &mut impl BundleReader,
    present: &EspContents,
    offer: &OfferedUpdate,
    plan: &EspPlan,
) -> Result<InstallCounts, Failure> {
    let manifest = &offer.manifest;
    make_room(medium, plan).map_err(failed("what is not needed any more"))?;
    let folder = manifest.slot.folder();
    medium.make_folder(&folder).map_err(failed(&folder))?;
    let known = KnownChunks::of(present, &plan.files);
    let mut counts = InstallCounts { received: offer.head, ..InstallCounts::default() };
    let mut written = vec![];
    for (kind, file) in manifest.files.all() {
        let path = manifest.slot.file(kind);
        counts.size += file.size;
        if plan.written.contains(&kind) {
            let staged = staged(&path);
            let new = (file, staged.as_str());
            if !install_patch(medium, source, (present, plan), (offer, kind), new, &mut counts)? {
                assemble(medium, source, &known, (file, &staged, offer.start(kind)), &mut counts)?;
            }
            written.push(path);
        } else {
            counts.shared += file.size;
        }
    }
    let path = manifest.slot.manifest();
    write_whole(medium, &staged(&path), &manifest.render()).map_err(failed(&path))?;
    written.push(path);
    finish(medium, &written).map_err(failed(&folder))?;
    medium.reopen().map_err(failed("the EFI system partition"))?;
    read_back(medium, manifest, plan).map_err(|not_there| match not_there {
        ReadBackError::Unreadable(path, error) => failed(&path)(error),
        ReadBackError::Mismatch(path) => damaged(&path),
    })?;
    add_slot(medium, manifest, plan, true).map_err(failed("the entry of the slot"))?;
    Ok(counts)
}

/// Makes a file by a patch, if there is one for a file on the box. Returns whether it succeeded: a
/// patch with a wrong result only costs its bytes.
fn install_patch(
    medium: &mut impl Medium,
    source: &mut impl BundleReader,
    (present, plan): (&EspContents, &EspPlan),
    (offer, kind): (&OfferedUpdate, SlotFile),
    (file, path): (&ChunkedFile, &str),
    counts: &mut InstallCounts,
) -> Result<bool, Failure> {
    let patches = offer.manifest.patches.iter().zip(&offer.patches);
    for (patch, start) in patches.filter(|(patch, _)| patch.makes == kind) {
        let Some((old, size)) = present.file(patch.from, &plan.files) else { continue };
        match make(medium, source, (patch, *start), (old, size), (file, path)) {
            Ok(()) => {
                counts.received += u64::from(patch.stored);
                counts.patched += file.size;
                return Ok(true);
            }
            Err(failure) => {
                say!("a patch for {path} does not apply: {failure}");
                medium.remove(path).and_then(|()| medium.sync()).map_err(failed(path))?;
            }
        }
    }
    Ok(false)
}

/// Removes files that no slot needs. Returns whether there were any.
///
/// # Errors
/// Writing fails, or the running slot is missing.
pub fn tidy(medium: &mut impl Medium, running: &str) -> Result<bool, Failure> {
    let present = EspContents::read(medium).map_err(failed("the EFI system partition"))?;
    // Without the running slot, the needed files are unknown.
    kept_slots(&present, running)?;
    let all: Vec<_> = present.slots.iter().collect();
    let plan = plan_cleanup(&present, &all);
    let is_there = plan != EspPlan::default();
    if is_there {
        make_room(medium, &plan).map_err(failed("what is not needed any more"))?;
    }
    Ok(is_there)
}

/// The failure of an operation on `what`.
pub fn failed(what: &str) -> impl Fn(io::Error) -> Failure + use<> {
    let what = what.to_owned();
    move |error| {
        let help = "the running slot is as it was; if this happens again the flash may be worn out";
        Failure::new(FailureCode::Failed, format!("{what}: {error}"), help)
    }
}

/// The failure if `what` does not match its signature.
pub fn damaged(what: &str) -> Failure {
    let help = "the running slot is as it was; send the file that `cargo image bundle` made again";
    Failure::new(FailureCode::Failed, format!("{what} is not what was signed"), help)
}
