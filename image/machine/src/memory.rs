//! The whole memory of a guest, and what is in it: for tests about secrets.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use serde_json::json;

use crate::error::MachineError;
use crate::machine::Machine;

/// As much is searched at once.
const SEARCH_BLOCK: usize = 4 << 20;

/// A guest's memory as it was at one moment. When the value goes, so does the file.
#[derive(Debug)]
pub struct MemoryDump {
    path: PathBuf,
}

impl Machine {
    /// Writes the guest's memory, as large as it is, to a file in the machine's folder. The guest stands still
    /// meanwhile, and goes on. One at a time: a later one takes the place of what there is.
    ///
    /// # Errors
    /// QEMU refuses, or does not answer.
    pub fn dump_memory(&self) -> Result<MemoryDump, MachineError> {
        let folder = fs::canonicalize(self.folder());
        let folder = folder.map_err(MachineError::host("cannot find the machine's folder"))?;
        // From here on it is removed, also if QEMU fails in the middle of it.
        let dump = MemoryDump { path: folder.join("memory.elf") };
        // By physical addresses: the guest's own tables of pages need not be right.
        let args = json!({"paging": false, "protocol": format!("file:{}", dump.path.display())});
        self.qmp("dump-guest-memory", args)?;
        Ok(dump)
    }
}

impl MemoryDump {
    /// The file, of the kind ELF, with one segment for each piece of the guest's memory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of `needles`, a name and bytes each, are somewhere in it. What lies in two pages of memory need
    /// not be found: they may stand apart from each other.
    /// # Panics
    /// A needle is empty: that is everywhere.
    pub fn contains<'a>(&self, needles: &[(&'a str, &[u8])]) -> io::Result<BTreeSet<&'a str>> {
        search(File::open(&self.path)?, needles, SEARCH_BLOCK)
    }
}

impl Drop for MemoryDump {
    fn drop(&mut self) {
        // The folder goes too, in time.
        let _ = fs::remove_file(&self.path);
    }
}

fn search<'a>(
    mut file: impl Read,
    needles: &[(&'a str, &[u8])],
    piece: usize,
) -> io::Result<BTreeSet<&'a str>> {
    assert!(needles.iter().all(|(_, needle)| !needle.is_empty()), "an empty needle");
    let mut wanted: Vec<_> =
        needles.iter().map(|(name, needle)| (*name, Finder::new(*needle))).collect();
    let longest = needles.iter().map(|(_, needle)| needle.len()).max().unwrap_or(1);
    let mut found = BTreeSet::new();
    let mut buffer = vec![];
    while !wanted.is_empty() {
        // What a needle may have begun with is looked at again.
        buffer.drain(..buffer.len().saturating_sub(longest - 1));
        if file.by_ref().take(piece as u64).read_to_end(&mut buffer)? == 0 {
            break;
        }
        wanted.retain(|(name, finder)| {
            let is_there = finder.find(&buffer).is_some();
            found.extend(is_there.then_some(*name));
            !is_there
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_two_pieces_is_found() {
        let needles: [(&str, &[u8]); 3] =
            [("long", b"0123456789"), ("short", b"x"), ("none", b"98")];
        for at in 0..60 {
            let mut bytes = [0; 80];
            assert!(search(&bytes[..], &needles, 7).unwrap().is_empty());
            bytes[at..at + 10].copy_from_slice(b"0123456789");
            assert_eq!(search(&bytes[..], &needles, 7).unwrap(), ["long"].into());
            bytes[79 - at] = b'x';
            assert!(search(&bytes[..], &needles, 7).unwrap().contains("short"));
        }
        assert!(search(&b"x"[..], &[], 7).unwrap().is_empty());
    }
}
