//! `cargo image bundle`: what was signed, and its files, as one file.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use octet_bundle::{BundleHead, Manifest, SlotFile, SlotName};

use super::error::UpdateError;
use super::image::ImageSlot;
use super::pack::pack;
use super::{PATCHES, SIGNATURE, SIGNED_MANIFEST};
use crate::output::file;

/// Puts the signed slot `name` of the image in `folder` into the file `to`. Returns its size.
///
/// # Errors
/// The image was not signed, or something else was.
pub fn bundle(folder: &Path, disk: &Path, name: &SlotName, to: &Path) -> miette::Result<u64> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|why| UpdateError::Read {
            path: path.clone(),
            why,
            help: "sign the image first: `cargo image sign --key FILE`",
        })
    };
    let [signed, signature] = [SIGNED_MANIFEST, SIGNATURE].map(|name| folder.join(name));
    let head = BundleHead { signature: read(&signature)?, manifest: read(&signed)? };
    let slot = ImageSlot::read(disk, name)?;
    let wrong = |problem: String| UpdateError::Image { path: signed.clone(), problem };
    let manifest = Manifest::parse(&head.manifest).map_err(|error| wrong(error.to_string()))?;
    let digests = |manifest: &Manifest| {
        manifest.files.all().map(|(kind, file)| (kind, file.sha256)).collect::<Vec<_>>()
    };
    let is_same = digests(&manifest) == digests(&slot.manifest);
    if manifest.slot != *name || !is_same {
        let (signed, built) = (manifest.slot.to_string(), name.to_string());
        return Err(
            UpdateError::OtherImage { path: folder.join(SIGNED_MANIFEST), signed, built }.into()
        );
    }
    let bytes = head.render().map_err(|error| wrong(error.to_string()))?;
    let patches = read(&folder.join(PATCHES))?;
    if head.file_offset(&manifest, SlotFile::Linux) != (bytes.len() + patches.len()) as u64 {
        return Err(wrong("its patches are not those that were signed".into()).into());
    }
    file::write_with(to, |mut file| {
        file.write_all(&bytes)?;
        file.write_all(&patches)?;
        for ((_, of), content) in manifest.files.all().zip(&slot.files) {
            let mut rest = content.as_slice();
            for chunk in &of.chunks {
                let bytes = rest.split_off(..chunk.size as usize).unwrap_or_default();
                let packed = pack(bytes)?;
                if packed.len() != chunk.stored as usize {
                    return Err(std::io::Error::other("it was signed by another version of zstd"));
                }
                file.write_all(&packed)?;
            }
        }
        Ok(())
    })?;
    Ok(head.size(&manifest))
}
