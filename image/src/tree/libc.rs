//! The two C libraries that an image may have side by side: Alpine's programs have musl, Debian's
//! have glibc. A program's loader is part of its C library, and each looks in folders of its own.

use std::fmt;

use elf::abi::{EM_AARCH64, EM_X86_64};

use super::ElfFile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Libc {
    Musl,
    Glibc,
}

impl Libc {
    /// The one that a program or a library is made for: of a program its loader tells, of a library
    /// that it needs the C library itself. A library that needs nothing goes with both.
    pub fn of(program: &ElfFile) -> Option<Self> {
        let loader = program.interpreter.as_deref().and_then(|path| path.rsplit('/').next());
        match loader {
            Some(name) if name.starts_with("ld-musl-") => Some(Self::Musl),
            Some(name) if name.starts_with("ld-linux") => Some(Self::Glibc),
            Some(_) => None,
            None => program.needed.iter().find_map(|name| Self::from_library(name)),
        }
    }

    /// The one whose own library has this name.
    fn from_library(library: &str) -> Option<Self> {
        if library.starts_with("libc.musl-") {
            return Some(Self::Musl);
        }
        (library == "libc.so.6" || library.starts_with("ld-linux")).then_some(Self::Glibc)
    }

    /// Where its loader looks for libraries of programs for the processor `machine` (`e_machine`),
    /// in that order: musl as in its `ldso/dynlink.c`, without an `/etc/ld-musl-*.path`; Debian's
    /// glibc (ld.so(8)) without an `/etc/ld.so.cache`, in the folders of the processor first.
    pub fn folders(self, machine: u16) -> Vec<&'static str> {
        let of_processor: &[&str] = match (self, machine) {
            (Self::Musl, _) => return vec!["/lib", "/usr/local/lib", "/usr/lib"],
            (Self::Glibc, EM_X86_64) => &["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"],
            (Self::Glibc, EM_AARCH64) => &["/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"],
            (Self::Glibc, _) => &[],
        };
        [of_processor, &["/lib", "/usr/lib"]].concat()
    }
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Musl => "musl",
            Self::Glibc => "glibc",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(interpreter: Option<&str>, needed: &[&str]) -> ElfFile {
        let needed = needed.iter().map(ToString::to_string).collect();
        ElfFile { interpreter: interpreter.map(str::to_owned), needed, ..ElfFile::default() }
    }

    #[test]
    fn loader_and_libraries_tell() {
        for (interpreter, needed, libc) in [
            (Some("/lib/ld-musl-x86_64.so.1"), "libc.musl-x86_64.so.1", Some(Libc::Musl)),
            (Some("/lib64/ld-linux-x86-64.so.2"), "libc.so.6", Some(Libc::Glibc)),
            (Some("/lib/ld-linux-aarch64.so.1"), "libedit.so.2", Some(Libc::Glibc)),
            (Some("/lib/ld-other.so.1"), "libc.so.6", None),
            (None, "libc.so.6", Some(Libc::Glibc)),
            (None, "libc.musl-aarch64.so.1", Some(Libc::Musl)),
            (None, "libcrypto.so.3", None),
        ] {
            assert_eq!(
                Libc::of(&program(interpreter, &[needed])),
                libc,
                "{interpreter:?} {needed}"
            );
        }
    }
}
