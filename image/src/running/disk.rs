//! The disk of a machine that `cargo image run --disk` boots: a copy of the image, on a larger medium, as if it had been
//! flashed. It is the machine's own from then on, with its keys, its data and the updates that it took: a later build
//! does not replace it unasked.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, WrapErr};
use octet_appliance::BoardId;
use octet_machine::Node;

use crate::build::Built;
use crate::flash::{
    self, FlashError, FlashTarget, Host, ImageFile, KeepDataPlan, SlotWork, Unwatched, board,
};
use crate::output::file;
use crate::output::sparse::Sparse;

/// The medium's size, in bytes.
const DISK_SIZE: u64 = 1 << 30;

/// What becomes of a disk that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExistingDisk {
    /// The machine goes on with it.
    #[default]
    Keep,
    /// The build is written into another slot of it, and tried.
    Install,
    /// A new one takes its place.
    Replace,
}

#[derive(Debug)]
pub struct WorkingDisk {
    pub path: PathBuf,
    /// What it is, for people.
    pub description: String,
}

impl WorkingDisk {
    /// That of what was `built`: a file in `cache` beside the image's folder, because all in that is what the inputs
    /// give. Of several machines each `node` has one of its own, and the router's says so.
    ///
    /// # Errors
    /// Another machine has it, it cannot take the build that is to be installed, or it cannot be written.
    pub fn of(built: &Built, node: Option<Node>, existing: ExistingDisk) -> miette::Result<Self> {
        let own = node.map(|node| format!(".{node}")).unwrap_or_default();
        let path = build_file(&built.folder, &format!("{own}.disk"));
        if !path.is_file() {
            return Self::new(built, node, path);
        }
        // Not while a machine runs from it.
        let target = FlashTarget::open(&path, &Host::local())?;
        let description = match existing {
            ExistingDisk::Replace => return Self::new(built, node, path),
            ExistingDisk::Keep => keep_existing(built, &target)?,
            ExistingDisk::Install => install(built, &target)?,
        };
        Ok(Self { path, description })
    }

    fn new(built: &Built, node: Option<Node>, path: PathBuf) -> miette::Result<Self> {
        let make = || -> io::Result<()> {
            if matches!(node, None | Some(Node::Router)) {
                // It makes new keys: who knows the old ones would take it for another.
                match fs::remove_dir_all(kept_config(&built.folder, node.is_some())) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed?,
                }
            }
            let mut image = Sparse::read(&File::open(&built.disk)?)?;
            if node == Some(Node::Router) {
                board::put(&mut image, BoardId::ROUTER).map_err(io::Error::other)?;
            }
            let fill = |disk: &File| image.write_to(disk).and_then(|()| disk.set_len(DISK_SIZE));
            file::write_with(&path, fill).map_err(io::Error::other)
        };
        let made = make().into_diagnostic();
        made.wrap_err_with(|| format!("cannot make a disk of {}", built.folder.display()))?;
        Ok(Self { path, description: "a new copy of octet.img".to_owned() })
    }
}

/// What a disk that stays as it is starts.
fn keep_existing(built: &Built, target: &FlashTarget) -> miette::Result<String> {
    let image = ImageFile::open(&built.disk)?;
    let keep = match flash::plan_keep_data(&image, target) {
        Ok(keep) => keep,
        Err(FlashError::KeepData { why, .. }) => {
            return Ok(format!(
                "with the data it has; it cannot take your build, since it {why}: --fresh begins with a new disk"
            ));
        }
        Err(error) => return Err(error.into()),
    };
    if keep.work == SlotWork::Unchanged {
        return Ok("with the data it has".to_owned());
    }
    let starts = describe_boot(&keep);
    Ok(format!(
        "with the data it has; it boots {starts}, and your build is slot {}: --install has it tried there, --fresh \
         begins with a new disk",
        keep.manifest.slot
    ))
}

fn install(built: &Built, target: &FlashTarget) -> miette::Result<String> {
    let image = ImageFile::open(&built.disk)?;
    let keep = flash::plan_keep_data(&image, target)?;
    let slot = keep.manifest.slot.clone();
    if keep.is_done() {
        return Ok(format!("with the data it has; slot {slot} is on it already"));
    }
    flash::flash_slot(&keep, &image, target, &Unwatched)?;
    let starts = describe_boot(&keep);
    Ok(format!(
        "with the data it has; slot {slot} is tried now, and if it does not become good {starts} starts again"
    ))
}

/// What starts without the build.
fn describe_boot(keep: &KeepDataPlan) -> String {
    keep.fallback.as_ref().map_or_else(|| "another slot".to_owned(), |slot| format!("slot {slot}"))
}

/// Makes the folder for the settings of the lan's devices: beside the disks, if the box, or the single board, has its keys
/// there.
pub fn make_config(built: &Built, has_disks: bool, is_box: bool, config: &Path) -> io::Result<()> {
    if !has_disks {
        return fs::create_dir(config);
    }
    let stored = kept_config(&built.folder, is_box);
    fs::create_dir_all(&stored)?;
    symlink(stored, config)
}

fn kept_config(folder: &Path, is_box: bool) -> PathBuf {
    build_file(folder, if is_box { ".config" } else { ".single.config" })
}

/// A file of the image in `folder` that is no part of it.
fn build_file(folder: &Path, what: &str) -> PathBuf {
    let target = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name("cache").join(format!("{target}{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    use crate::output::disk::{self, DiskContents};
    use crate::output::entry::{NamedSlot, SlotProperties};
    use crate::tree::NodeOrigin;

    /// Where the data partition of such a medium has room, in bytes.
    const DATA: u64 = DISK_SIZE - (64 << 20);

    /// Builds an image whose slot has these files.
    fn build(out: &Path, initrd: &[u8]) -> Built {
        let folder = out.join("qemu-x86_64");
        fs::create_dir_all(&folder).unwrap();
        let (target, own) = (crate::target::Target::QemuX86_64, &NodeOrigin::Generated);
        let of = SlotProperties { target, version: "1.2.3", sequence: 7, trial: 60 };
        let slot = NamedSlot::new(&of, b"a kernel", initrd, None).unwrap();
        let boot_loader = (&b"a boot loader"[..], own);
        let parts =
            DiskContents { target, slot: &slot, kernel: own, boot_loader, epoch: 1_795_132_800 };
        let disk = folder.join(disk::DISK);
        file::write_with(&disk, |file| disk::build(&parts).unwrap().write_to(file)).unwrap();
        let [linux, initrd] = ["linux", "initrd"].map(|name| folder.join(name));
        Built { target, folder, linux, initrd, disk }
    }

    #[test]
    fn a_later_build_replaces_nothing_unasked() {
        let out = tempfile::tempdir().unwrap();
        let one = build(out.path(), b"one");
        let of = |built: &Built, existing| WorkingDisk::of(built, None, existing);
        let first = of(&one, ExistingDisk::Keep).unwrap();
        assert!(
            first.description.starts_with("a new copy") && !first.path.starts_with(&one.folder)
        );
        let open = || File::options().read(true).write(true).open(&first.path).unwrap();
        assert_eq!(open().metadata().unwrap().len(), DISK_SIZE);
        open().write_all_at(b"data", DATA).unwrap();
        let data = || {
            let mut data = [1; 4];
            open().read_exact_at(&mut data, DATA).unwrap();
            data
        };
        assert_eq!(of(&one, ExistingDisk::Keep).unwrap().description, "with the data it has");

        let two = build(out.path(), b"two");
        for existing in [ExistingDisk::Keep, ExistingDisk::Keep] {
            let text = of(&two, existing).unwrap().description;
            assert!(text.contains("--install") && text.contains("--fresh"), "{text}");
        }
        let text = of(&two, ExistingDisk::Install).unwrap().description;
        assert!(text.contains("is tried now") && text.contains("starts again"), "{text}");
        assert_eq!(of(&two, ExistingDisk::Keep).unwrap().description, "with the data it has");
        assert_eq!(&data(), b"data");
        // The first one is there still, and now it is the one that is not what was built.
        let one = build(out.path(), b"one");
        assert!(of(&one, ExistingDisk::Keep).unwrap().description.contains("--install"));
        assert_eq!(&data(), b"data");

        assert!(of(&one, ExistingDisk::Replace).unwrap().description.starts_with("a new copy"));
        assert_eq!(data(), [0; 4]);
    }

    #[test]
    fn nobody_takes_the_disk_of_a_machine_that_runs() {
        let out = tempfile::tempdir().unwrap();
        let built = build(out.path(), b"one");
        let disk = WorkingDisk::of(&built, None, ExistingDisk::Keep).unwrap();
        let runs = FlashTarget::open(&disk.path, &Host::local()).unwrap();
        for existing in [ExistingDisk::Keep, ExistingDisk::Install, ExistingDisk::Replace] {
            let error = WorkingDisk::of(&built, None, existing).unwrap_err().to_string();
            assert!(error.contains("in use"), "{error}");
        }
        drop(runs);
        WorkingDisk::of(&built, None, ExistingDisk::Keep).unwrap();
    }
}
