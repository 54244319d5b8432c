//! Releases for the box: one that shares nothing with what runs, and one that differs in a line.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use miette::IntoDiagnostic;

use super::owner::BenchOwner;
use octet_image::build::{self, Options};
use octet_image::update;

/// The file of the key that signs.
const SIGNER: &str = "signer";

pub struct BenchRelease {
    /// As `cargo image bundle` makes it.
    pub file: PathBuf,
    /// The sizes of the files that a box has to write for it.
    pub written: Vec<u64>,
    /// Whether the box has nothing of these.
    pub is_new: bool,
}

/// A kernel and its initramfs.
#[derive(Clone, Copy)]
pub struct BootFiles<'a> {
    pub linux: &'a [u8],
    pub initrd: &'a [u8],
}

/// Makes the key that signs, and returns its public half.
pub fn keygen(owner: &BenchOwner) -> miette::Result<String> {
    Ok(update::make_key(&owner.file(SIGNER), false)?.1)
}

/// What runs with every bit turned: it is as long, and compresses as well, but no chunk of it is one
/// that the box has. It is never started.
pub fn of_other_bytes(
    owner: &BenchOwner,
    options: &Options,
    of: BootFiles<'_>,
) -> miette::Result<BenchRelease> {
    let turned = |bytes: &[u8]| bytes.iter().map(|byte| !byte).collect::<Vec<_>>();
    let (linux, initrd) = (turned(of.linux), turned(of.initrd));
    let written = vec![linux.len() as u64, initrd.len() as u64];
    let file = make(owner, options, "whole", BootFiles { linux: &linux, initrd: &initrd })?;
    Ok(BenchRelease { file, written, is_new: true })
}

/// The kernel that runs, and another initramfs.
pub fn of_change(
    owner: &BenchOwner,
    options: &Options,
    of: BootFiles<'_>,
) -> miette::Result<BenchRelease> {
    let file = make(owner, options, "small", of)?;
    Ok(BenchRelease { file, written: vec![of.initrd.len() as u64], is_new: false })
}

/// Signs and bundles an image of these files, in a folder `name` of the owner's.
fn make(
    owner: &BenchOwner,
    options: &Options,
    name: &str,
    of: BootFiles<'_>,
) -> miette::Result<PathBuf> {
    let folder = owner.file(name);
    fs::create_dir(&folder).into_diagnostic()?;
    let path = |name: &str| Path::join(&folder, name);
    let (disk, file) = (path("octet.img"), path("octet.update"));
    let (slot, image) = build::disk_with(options, of.linux, of.initrd)?;
    image.write_to(&File::create(&disk).into_diagnostic()?).into_diagnostic()?;
    let key = owner.file(SIGNER);
    update::sign(&folder, &disk, &slot, &key, &update::ReleaseInfo::default())?;
    update::bundle(&folder, &disk, &slot, &file)?;
    Ok(file)
}
