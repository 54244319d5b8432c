//! `cargo image sign`: what an image is, as a release of its owner's.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use miette::IntoDiagnostic;
use octet_bundle::{Manifest, SlotName};

use super::error::UpdateError;
use super::image::ImageSlot;
use super::key::secret_key;
use super::pack::pack;
use super::{PATCHES, SIGNATURE, SIGNED_MANIFEST, patch};
use crate::output::file;

/// What its owner says of a release.
#[derive(Debug, Clone, Default)]
pub struct ReleaseInfo {
    /// Where it stands among the others; the seconds since 1970 unless said.
    pub sequence: Option<u64>,
    /// What is below it is not taken any more, once this one was found good.
    pub floor: Option<u64>,
    /// Updates that boxes may have, as files: those are sent a patch.
    pub from: Vec<PathBuf>,
}

/// Signs the slot `name` of the image in `folder` with the key in `key`. Returns what is signed, and
/// the files.
///
/// # Errors
/// The image or the key cannot be used, or the release makes no sense.
pub fn sign(
    folder: &Path,
    disk: &Path,
    name: &SlotName,
    key: &Path,
    release: &ReleaseInfo,
) -> miette::Result<(Manifest, [PathBuf; 2])> {
    let secret = secret_key(key)?;
    let slot = ImageSlot::read(disk, name)?;
    let packed = packed_manifest(&slot)?;
    let mut patches = vec![];
    for path in &release.from {
        patches.extend(
            patch::patches(&patch::read_update(path)?, &packed, &slot.files).into_diagnostic()?,
        );
    }
    let listed = patches.iter().map(|(patch, _)| *patch).collect();
    let manifest = Manifest { patches: listed, ..packed };
    let manifest = release_manifest(manifest, release, SystemTime::now())?;
    let signed = manifest.render();
    let trusted = format!("octet {} {} sequence {}", manifest.target, name, manifest.sequence);
    let signature = minisign::sign(None, &secret, Cursor::new(&signed), Some(&trusted), None)
        .into_diagnostic()?;
    let paths = [folder.join(SIGNED_MANIFEST), folder.join(SIGNATURE)];
    // Together they are whole only if the signature is written last.
    file::remove(&paths[1])?;
    let patches: Vec<u8> = patches.into_iter().flat_map(|(_, bytes)| bytes).collect();
    file::write(&folder.join(PATCHES), &patches)?;
    file::write(&paths[0], &signed)?;
    file::write(&paths[1], signature.into_string().as_bytes())?;
    Ok((manifest, paths))
}

/// The manifest with the sizes that chunks have in a bundle.
fn packed_manifest(slot: &ImageSlot) -> miette::Result<Manifest> {
    let mut manifest = slot.manifest.clone();
    for ((_, file), content) in manifest.files.all_mut().zip(&slot.files) {
        let mut rest = content.as_slice();
        for chunk in &mut file.chunks {
            let Some(bytes) = rest.split_off(..chunk.size as usize) else { break };
            let stored = pack(bytes).into_diagnostic()?.len();
            chunk.stored = u32::try_from(stored).unwrap_or(chunk.size);
        }
    }
    Ok(manifest)
}

fn release_manifest(
    image: Manifest,
    release: &ReleaseInfo,
    now: SystemTime,
) -> Result<Manifest, UpdateError> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let wrong = |error: octet_bundle::ManifestError| UpdateError::Release(error.to_string());
    if let Some(sequence) = release.sequence.filter(|sequence| *sequence <= image.sequence) {
        let flashed = image.sequence;
        return Err(UpdateError::Release(format!(
            "sequence {sequence} is not above {flashed}, that of the image when it is flashed"
        )));
    }
    let sequence = release.sequence.unwrap_or(now.max(image.sequence + 1));
    let floor = release.floor.unwrap_or(image.floor);
    Manifest { sequence, floor, ..image }.validated().map_err(wrong)
}
