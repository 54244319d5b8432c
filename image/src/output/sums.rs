//! `SHA256SUMS`, in the format of sha256sum(1).

use std::path::Path;

use crate::digest::Sha256;

/// The name of the file.
pub const NAME: &str = "SHA256SUMS";

/// The text for files given by name and digest.
pub fn render(files: &[(&str, Sha256)]) -> String {
    files.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect()
}

/// Whether `folder` has exactly the files that its `SHA256SUMS` says.
pub fn hold(folder: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join(NAME)) else { return false };
    !text.is_empty()
        && text.lines().all(|line| {
            line.split_once("  ").is_some_and(|(sum, name)| {
                Sha256::of_file(&folder.join(name)).is_ok_and(|sha256| sha256.to_string() == sum)
            })
        })
}
