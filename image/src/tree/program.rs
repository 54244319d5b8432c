//! What an ELF file says of itself: its machine, and what it must be loaded with.

use elf::ElfBytes;
use elf::abi::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, ET_DYN, ET_EXEC, PT_INTERP, PT_LOAD,
};
use elf::endian::AnyEndian;

/// A program or a shared library.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ElfFile {
    /// `e_machine`.
    pub machine: u16,
    /// The program that loads it, for one that is not static.
    pub interpreter: Option<String>,
    pub needed: Vec<String>,
    /// Folders that it wants searched first, `$ORIGIN` not yet replaced.
    pub folders: Vec<String>,
}

impl ElfFile {
    /// Reads `bytes`; `None` if they are no program or library, or a damaged one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        let file = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok()?;
        if !matches!(file.ehdr.e_type, ET_DYN | ET_EXEC) {
            return None;
        }
        let mut program = Self { machine: file.ehdr.e_machine, ..Self::default() };
        let segments = file.segments()?;
        for segment in segments.iter().filter(|segment| segment.p_type == PT_INTERP) {
            program.interpreter = Some(text(file.segment_data(&segment).ok()?)?);
        }
        let Some(dynamic) = file.dynamic().ok()? else { return Some(program) };
        let value =
            |tag| dynamic.iter().find(|entry| entry.d_tag == tag).map(|entry| entry.d_val());
        let (Some(address), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else {
            return Some(program);
        };
        // The dynamic section gives an address; the segment that holds it gives the place.
        let segment = segments.iter().find(|segment| {
            segment.p_type == PT_LOAD
                && address >= segment.p_vaddr
                && address - segment.p_vaddr < segment.p_filesz
        })?;
        let start =
            usize::try_from((address - segment.p_vaddr).checked_add(segment.p_offset)?).ok()?;
        let strings = bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        let string = |at: u64| text(strings.get(usize::try_from(at).ok()?..)?);
        for entry in dynamic.iter() {
            match entry.d_tag {
                DT_NEEDED => program.needed.push(string(entry.d_val())?),
                DT_RUNPATH | DT_RPATH => {
                    program.folders.extend(string(entry.d_val())?.split(':').map(str::to_owned));
                }
                _ => {}
            }
        }
        Some(program)
    }

    /// Whether it needs nothing else to run.
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }
}

/// The text up to the first zero byte.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_this_very_test() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let program = ElfFile::parse(&bytes).unwrap();
        assert!(
            program.interpreter.as_deref().is_some_and(|path| path.contains("ld")),
            "{program:?}"
        );
        assert!(program.needed.iter().any(|name| name.starts_with("libc.")), "{program:?}");
        assert_eq!(ElfFile::parse(b"#!/bin/sh\n"), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = ElfFile::parse(&bytes);
            let _ = ElfFile::parse(&[b"\x7fELF\x02\x01\x01", &bytes[..]].concat());
        }

        #[test]
        fn never_panics_near_the_truth(changes in prop::collection::vec((0usize..1200, any::<u8>()), 1..9)) {
            use std::sync::LazyLock;
            static SELF: LazyLock<Vec<u8>> =
                LazyLock::new(|| std::fs::read("/bin/true").unwrap_or_default());
            let mut bytes = SELF.clone();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let _ = ElfFile::parse(&bytes);
        }
    }
}
