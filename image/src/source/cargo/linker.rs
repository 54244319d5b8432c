//! What compiles C and what links, as two scripts that cargo calls.
//!
//! C is compiled by `zig cc`, which has headers for every target. Rust's own lld links, with the C library that rustc
//! brings: programs are static and can lie at any address, so that each start has others (`-static-pie` of gcc(1);
//! zig links those for a fixed one). rustc asks for that by itself on x86-64 alone. Functions with the same code are one
//! (identical code folding), and so are constants with the same bytes: no crate of the image tells two of them apart by
//! their addresses. The tables for unwinding are left out: a panic ends the program, after its message.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::digest::Sha256;
use crate::output::file::{self, WriteError};
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

/// A program at a fixed address begins with `crt1.o`, one that moves itself with `rcrt1.o`. The linker script lies beside
/// this one.
const LINK: &str = r#"#!/bin/sh
for argument do
  shift
  case $argument in
    */crt1.o) set -- "$@" "${argument%crt1.o}rcrt1.o" ;;
    -T*) set -- "$@" "-T${0%/*}/${argument#-T}" ;;
    -flavor | gnu | -no-pie | -static | -pie) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "$OCTET_LLD" -flavor gnu -static -pie --no-dynamic-linker -z text "$@"
"#;

/// What no program keeps: tables for unwinding, and those that find them (LSB Core, "Exception Frames").
const DISCARD: &str = "SECTIONS {
  /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) *(.gcc_except_table .gcc_except_table.*) }
} INSERT AFTER .text;
";

/// The scripts, and what they call.
pub struct Linker {
    folder: PathBuf,
    target: Target,
    zig: PathBuf,
    lld: PathBuf,
}

impl Linker {
    /// Writes the scripts below `folder`. They call the `zig` and the linker of the compiler in `sysroot`, which runs on
    /// `host`.
    pub fn write(
        folder: &Path,
        target: Target,
        zig: PathBuf,
        sysroot: &Path,
        host: &str,
    ) -> Result<Self, WriteError> {
        let folder = folder.join(recipe()).join(target.architecture().name());
        let script = linker_script();
        for (name, text) in [("cc", CC), ("ar", AR), ("link", LINK), (&script, DISCARD)] {
            let path = folder.join(name);
            let text = text.replace("ARCHITECTURE", target.architecture().name());
            // Another clone's build may run it right now.
            if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
                continue;
            }
            file::write_with(&path, |mut file| {
                file.set_permissions(Permissions::from_mode(0o755))?;
                file.write_all(text.as_bytes())
            })?;
        }
        let lld = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        Ok(Self { folder, target, zig, lld })
    }

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

    /// Flags of rustc, which decide how it is linked: relocations are packed (`DT_RELR` of the ELF gABI), and no build
    /// has a name of its own.
    pub fn flags() -> Vec<String> {
        let mut flags = [
            "-Clinker-flavor=ld.lld",
            "-Clink-self-contained=yes",
            "-Crelocation-model=pie",
            "-Clink-arg=-zpack-relative-relocs",
            "-Clink-arg=--build-id=none",
            "-Clink-arg=--icf=all",
            "-Clink-arg=--ignore-data-address-equality",
            "-Clink-arg=--no-eh-frame-hdr",
        ]
        .map(str::to_owned)
        .to_vec();
        flags.push(format!("-Clink-arg=-T{}", linker_script()));
        flags
    }
}

/// A name for what all scripts are.
fn recipe() -> String {
    Sha256::of_parts([CC, AR, LINK, DISCARD].map(str::as_bytes)).to_string()[..16].to_owned()
}

/// The linker script's name: it is among the flags of rustc, so cargo compiles again if any of the scripts is another.
fn linker_script() -> String {
    format!("{}.ld", recipe())
}
