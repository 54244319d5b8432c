//! Patches from updates that boxes may have: a program that is linked anew differs nearly everywhere,
//! but only by addresses that have moved. Chunks of it are all new; a patch is short.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use octet_bundle::{BundleHead, MAX_CHUNK, Manifest, PATCH_WINDOW, Patch};
use zstd::stream::Encoder;
use zstd::zstd_safe::CParameter;

use super::error::UpdateError;

const LEVEL: i32 = 19;

/// The files of the update at `path`, in the order of its manifest.
///
/// # Errors
/// It cannot be read, or is no update.
pub fn read_update(path: &Path) -> Result<(Manifest, Vec<Vec<u8>>), UpdateError> {
    let help = "name a file that `cargo image bundle` has made";
    let unreadable = |why| UpdateError::Read { path: path.to_owned(), why, help };
    let wrong = |problem: String| unreadable(io::Error::other(problem));
    let bytes = fs::read(path).map_err(unreadable)?;
    let head = BundleHead::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    let manifest = Manifest::parse(&head.manifest).map_err(|error| wrong(error.to_string()))?;
    let mut files = vec![];
    for (kind, file) in manifest.files.all() {
        let start = usize::try_from(head.file_offset(&manifest, kind)).unwrap_or(usize::MAX);
        let mut rest = bytes.get(start..).unwrap_or_default();
        let mut content = vec![];
        for chunk in &file.chunks {
            let cut = || wrong("it is cut off".into());
            let stored = rest.split_off(..chunk.stored as usize).ok_or_else(cut)?;
            if chunk.stored == chunk.size {
                content.extend_from_slice(stored);
            } else {
                let bytes = zstd::bulk::decompress(stored, MAX_CHUNK as usize);
                content.extend(bytes.map_err(unreadable)?);
            }
        }
        files.push(content);
    }
    Ok((manifest, files))
}

/// Patches from the files of `old` to those of `new` with the content `files`, where that is less than
/// half of what the chunks are.
pub fn patches(
    (old, old_files): &(Manifest, Vec<Vec<u8>>),
    new: &Manifest,
    files: &[Vec<u8>],
) -> io::Result<Vec<(Patch, Vec<u8>)>> {
    let mut made = vec![];
    for ((kind, after), to) in new.files.all().zip(files) {
        let mut there = old.files.all().zip(old_files);
        let Some(((_, before), from)) = there.find(|((old, _), _)| *old == kind) else { continue };
        if before.sha256 == after.sha256 {
            continue;
        }
        let bytes = patch(from, to)?;
        if let Ok(stored) = u32::try_from(bytes.len())
            && u64::from(stored) * 2 < after.stored()
        {
            made.push((Patch { makes: kind, from: before.sha256, stored }, bytes));
        }
    }
    Ok(made)
}

fn patch(from: &[u8], to: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = vec![];
    bidiff::simple_diff(from, to, &mut plain)?;
    let mut encoder = Encoder::new(vec![], LEVEL)?;
    encoder.set_parameter(CParameter::WindowLog(PATCH_WINDOW.ilog2()))?;
    encoder.write_all(&plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::entry::{NamedSlot, SlotProperties};
    use crate::target::Target;
    use octet_bundle::SlotFile;

    fn release(dtb: Option<&[u8]>) -> (Manifest, Vec<Vec<u8>>) {
        let target = Target::BoardArm64;
        let of = SlotProperties { target, version: "1.2.3", sequence: 7, trial: 60 };
        let slot = NamedSlot::new(&of, b"a kernel", b"an initramfs", dtb).unwrap();
        let files = [Some(slot.linux), Some(slot.initrd), slot.dtb].into_iter().flatten();
        let files = files.map(<[u8]>::to_vec).collect();
        (slot.manifest, files)
    }

    #[test]
    fn device_trees_are_patched_like_other_files() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let trees: Vec<u8> = (0..20_000).map(|_| next()).collect();
        let mut others = trees.clone();
        others[9_000] ^= 1;
        let (old, new) = (release(Some(&trees)), release(Some(&others)));
        let made = patches(&old, &new.0, &new.1).unwrap();
        assert_eq!(made.len(), 1);
        let patch = made[0].0;
        assert_eq!((patch.makes, patch.from), (SlotFile::Dtb, old.0.files.dtb.unwrap().sha256));
        assert_eq!(made[0].1.len(), patch.stored as usize);
        // There is nothing to patch if one of both has none.
        let without = release(None);
        assert!(patches(&without, &new.0, &new.1).unwrap().is_empty());
        assert!(patches(&new, &without.0, &without.1).unwrap().is_empty());
    }
}
