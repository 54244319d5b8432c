//! Patches from updates that boxes may have: a program that is linked anew differs nearly everywhere,
//! but only by addresses that have moved. Chunks of it are all new; a patch is short.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use octet_bundle::{BundleHead, MAX_CHUNK, Manifest, PATCH_WINDOW, Patch, SlotFile};
use zstd::stream::Encoder;
use zstd::zstd_safe::CParameter;

use super::error::UpdateError;

const LEVEL: i32 = 19;

/// The files of the update at `path`, in the order of [`Kind::ALL`].
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
    for kind in SlotFile::ALL {
        let start = usize::try_from(head.file_offset(&manifest, kind)).unwrap_or(usize::MAX);
        let mut rest = bytes.get(start..).unwrap_or_default();
        let mut content = vec![];
        for chunk in &manifest.files.get(kind).chunks {
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
    for (kind, (from, to)) in SlotFile::ALL.into_iter().zip(old_files.iter().zip(files)) {
        let (before, after) = (old.files.get(kind), new.files.get(kind));
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
