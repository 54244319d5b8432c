//! From the tree to the files of `out/<target>/`.

use std::path::Path;
use std::thread;

use miette::IntoDiagnostic;
use serde::Serialize;

use super::compose::Composed;
use super::inputs::BuildInputs;
use crate::digest::Sha256;
use crate::output::disk::{self, DISK, PACKED};
use crate::output::entry::{self, NamedSlot};
use crate::output::file::WriteError;
use crate::output::initrd::InitrdEntry;
use crate::output::licenses::Licenses;
use crate::output::manifest::{ImageManifest, ImageProperties};
use crate::output::sparse::Sparse;
use crate::output::squashfs::{BEST_LEVEL, FAST_LEVEL};
use crate::output::{file, initrd, sbom, squashfs, sums};
use crate::seed::unpack_kernel;
use crate::steps::Steps;
use crate::tree::TreeNode;

/// Writes the image into `folder`, and returns the digest of its disk by which it is known again.
/// `SHA256SUMS` goes first and comes last: while it is not there, nobody takes the folder for an
/// image.
pub fn write(
    inputs: &BuildInputs,
    composed: &Composed,
    folder: &Path,
    cache_file: &Path,
    steps: &Steps,
) -> miette::Result<Sha256> {
    let (target, epoch) = (inputs.target, inputs.lock.content.epoch);
    let version = env!("CARGO_PKG_VERSION");
    let (initrd, entries) = pack_root(composed, epoch, cache_file, BEST_LEVEL, steps)?;

    let step = steps.start("disk", "partitions and slot");
    let (sequence, trial) = (epoch.into(), inputs.appliance.appliance.health.within.seconds());
    let of = entry::SlotProperties { target, version, sequence, trial };
    let slot = NamedSlot::new(&of, &composed.linux, &initrd, composed.dtb.as_deref());
    let slot = slot.into_diagnostic()?;
    let name = slot.manifest.slot.as_str();
    let (kernel, (loader, of_loader)) = (&composed.kernel, &composed.boot_loader);
    let boot_loader = (&loader[..], of_loader);
    let parts = disk::DiskContents { target, slot: &slot, kernel, boot_loader, epoch };
    let disk = disk::build(&parts)?;
    let (packed, disk_sha256) = pack(&disk)?;
    step.done(&format!("slot {name}"));

    let step = steps.start("image", "writing");
    let of = ImageProperties { target, version, slot: name, epoch };
    let manifest = ImageManifest::new(&of, &composed.tree, &entries, &disk::files(&parts));
    let appliance = inputs.appliance.appliance.appliance.name.as_str();
    let content = composed.tree.digest();
    let subject = sbom::Subject { name: appliance, version, target, epoch, content };
    let mut files = vec![
        ("boot/initrd", initrd),
        (PACKED, packed),
        ("boot/linux", unpack_kernel(&composed.linux)?.into_owned()),
        ("manifest.json", json(&manifest)?),
    ];
    for (name, document) in sbom::render(&subject, &composed.components) {
        files.push((name, json(&document)?));
    }
    let licenses = Licenses::of(&composed.components).files();
    files.extend(licenses.map(|(name, text)| (name, text.into_bytes())));
    write_files(folder, Some((&disk, disk_sha256)), &files)?;
    let sizes: Vec<_> = files[..3]
        .iter()
        .map(|(name, content)| format!("{name} {}", megabytes(content.len())))
        .collect();
    step.done(&format!("{}: {}", folder.display(), sizes.join(", ")));
    Ok(disk.digest())
}

/// Writes a quick image: what QEMU boots without a disk, and nothing that can be flashed or signed.
pub fn quick(
    inputs: &BuildInputs,
    composed: &Composed,
    folder: &Path,
    cache_file: &Path,
    steps: &Steps,
) -> miette::Result<()> {
    let initrd = initrd(composed, inputs.lock.content.epoch, cache_file, FAST_LEVEL, steps)?;
    let step = steps.start("image", "writing");
    let size = megabytes(initrd.len());
    let linux = unpack_kernel(&composed.linux)?.into_owned();
    write_files(folder, None, &[("boot/initrd", initrd), ("boot/linux", linux)])?;
    step.done(&format!("{}: boot/initrd {size}, quick: not to be flashed", folder.display()));
    Ok(())
}

/// Writes the files of an image, and last the list of their digests, without which they are none.
fn write_files(
    folder: &Path,
    disk: Option<(&Sparse, Sha256)>,
    files: &[(&str, Vec<u8>)],
) -> miette::Result<()> {
    file::remove(&folder.join(sums::NAME))?;
    let mut list = vec![];
    if let Some((disk, sha256)) = disk {
        file::write_with(&folder.join(DISK), |file| disk.write_to(file))?;
        list.push((DISK, sha256));
    }
    for (name, content) in files {
        file::write(&folder.join(name), content)?;
        list.push((*name, Sha256::of(content)));
    }
    Ok(file::write(&folder.join(sums::NAME), sums::render(list).as_bytes())?)
}

/// The initramfs alone, its root compressed at `level`.
pub fn initrd(
    composed: &Composed,
    epoch: u32,
    cache_file: &Path,
    level: i32,
    steps: &Steps,
) -> miette::Result<Vec<u8>> {
    Ok(pack_root(composed, epoch, cache_file, level, steps)?.0)
}

/// The initramfs, and a list of what is in it.
fn pack_root(
    composed: &Composed,
    epoch: u32,
    cache_file: &Path,
    level: i32,
    steps: &Steps,
) -> miette::Result<(Vec<u8>, Vec<InitrdEntry>)> {
    let step = steps.start("squashfs", "compressing");
    let squashfs = squashfs::build(&composed.tree, epoch, level, cache_file, &step)?;
    step.done(&megabytes(squashfs.len()));
    let early: Vec<_> =
        composed.early.iter().filter_map(|path| find_module(composed, path)).collect();
    let parts = initrd::InitrdContents { init: &composed.init, early: &early, squashfs: &squashfs };
    Ok(initrd::build(&parts))
}

/// The packed disk, and the digest of the one that is not packed: each takes a second where the
/// processor has no instructions for it.
fn pack(disk: &Sparse) -> miette::Result<(Vec<u8>, Sha256)> {
    let (packed, sha256) = thread::scope(|scope| {
        let sha256 = scope.spawn(|| Sha256::of_parts(disk.pieces()));
        (disk::compress(disk), sha256.join())
    });
    let packed = packed.map_err(WriteError::at(Path::new(PACKED)))?;
    let sha256 = sha256.map_err(|_| miette::miette!("the digest of the disk was not computed"))?;
    Ok((packed, sha256))
}

/// A module by its name.
fn find_module<'a>(composed: &'a Composed, path: &str) -> Option<(String, &'a TreeNode)> {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".ko").to_owned();
    composed.tree.get(path).map(|node| (name, node))
}

fn json(value: &impl Serialize) -> miette::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).into_diagnostic()?;
    text.push(b'\n');
    Ok(text)
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
