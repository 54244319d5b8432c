//! What compiles C and what links, as two scripts that cargo calls.
//!
//! C is compiled by `zig cc`, which has headers for every target. Rust's own lld links, with the C library that rustc
//! brings: programs are static and can lie at any address, so that each start has others (`-static-pie` of gcc(1);
//! zig links those for a fixed one). rustc asks for that by itself on x86-64 alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::target::Target;

/// The compiler is told what it compiles for in Rust's words, and knows it by its own.
const CC: &str = r#"#!/bin/sh
for argument do
  shift
  case $argument in
    --target=*) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "$OCTET_ZIG" cc -target ARCHITECTURE-linux-musl "$@"
"#;

const AR: &str = r#"#!/bin/sh
exec "$OCTET_ZIG" ar "$@"
"#;

/// A program at a fixed address begins with `crt1.o`, one that moves itself with `rcrt1.o`.
const LINK: &str = r#"#!/bin/sh
for argument do
  shift
  case $argument in
    */crt1.o) set -- "$@" "${argument%crt1.o}rcrt1.o" ;;
    -flavor | gnu | -no-pie | -static | -pie) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "$OCTET_LLD" -flavor gnu -static -pie --no-dynamic-linker -z text "$@"
"#;

/// The scripts, and what they call.
pub struct Linker {
    folder: PathBuf,
    target: Target,
    zig: PathBuf,
    lld: PathBuf,
}

impl Linker {
    /// Writes the scripts into `folder`. They call the `zig` and the linker of the compiler in `sysroot`, which runs on
    /// `host`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(
        folder: &Path,
        target: Target,
        zig: PathBuf,
        sysroot: &Path,
        host: &str,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let architecture = target.triple().split('-').next().unwrap_or_default();
        for (name, script) in [("cc", CC), ("ar", AR), ("link", LINK)] {
            let path = folder.join(name);
            fs::write(&path, script.replace("ARCHITECTURE", architecture))?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
        let lld = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        Ok(Self { folder: folder.to_owned(), target, zig, lld })
    }

    /// Variables for cargo.
    pub fn environment(&self) -> Vec<(String, PathBuf)> {
        let triple = self.target.triple().replace('-', "_");
        let script = |name: &str| self.folder.join(name);
        vec![
            (format!("CC_{triple}"), script("cc")),
            (format!("AR_{triple}"), script("ar")),
            (format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase()), script("link")),
            ("OCTET_ZIG".to_owned(), self.zig.clone()),
            ("OCTET_LLD".to_owned(), self.lld.clone()),
        ]
    }

    /// All that decides how it is linked.
    pub fn recipe() -> String {
        [&[CC, AR, LINK], &Self::FLAGS[..]].concat().join(" ")
    }

    /// Flags of rustc: relocations are packed (`DT_RELR` of the ELF gABI), and no build has a name of its own.
    pub const FLAGS: [&str; 5] = [
        "-Clinker-flavor=ld.lld",
        "-Clink-self-contained=yes",
        "-Crelocation-model=pie",
        "-Clink-arg=-zpack-relative-relocs",
        "-Clink-arg=--build-id=none",
    ];
}
