//! What the compiler puts into every program: Rust's standard library, and musl.

use std::fs;
use std::path::Path;

use super::CargoError;
use crate::source::purl::purl;
use crate::source::{Component, ComponentKind};

/// Both, where `rustc` is what `rustc -Vv` says.
pub fn components(rustc: &str, musl: &str) -> [Component; 2] {
    let field = |name: &str| {
        let mut lines = rustc.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("unknown")
    };
    let (release, commit) = (field("release"), field("commit-hash"));
    let bundled = |name: &str, version: &str, license: &str| Component {
        kind: ComponentKind::Toolchain,
        name: name.to_owned(),
        version: version.to_owned(),
        supplier: "the Rust project",
        license: Some(license.to_owned()),
        purl: purl("generic", None, name, version, &[]),
        checksum: None,
        source: format!("Rust {release} at commit {commit}"),
        common: vec![],
        notices: vec![],
        uses: vec![],
    };
    let uses = vec!["musl".to_owned()];
    let purl = purl("github", Some("rust-lang"), "rust", release, &[]);
    let standard = bundled("rust-std", release, "MIT OR Apache-2.0");
    [Component { purl, uses, ..standard }, bundled("musl", musl, "MIT")]
}

/// The version of the musl that is linked for `triple`: its archive has it as a text of its own
/// (`__libc_version` of `src/internal/version.c`).
pub fn musl(sysroot: &Path, triple: &str) -> Result<String, CargoError> {
    let path = sysroot.join("lib/rustlib").join(triple).join("lib/self-contained/libc.a");
    match fs::read(&path) {
        Ok(bytes) => Ok(version(&bytes).unwrap_or("unknown").to_owned()),
        Err(why) => Err(CargoError::Unreadable { path, why }),
    }
}

/// The only text between two zeros that has three numbers.
fn version(archive: &[u8]) -> Option<&str> {
    let texts = archive.split(|byte| *byte == 0).filter(|text| (5..12).contains(&text.len()));
    let mut versions = texts.filter_map(|text| {
        let text = std::str::from_utf8(text).ok()?;
        let numbers: Vec<_> = text.split('.').collect();
        (numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u8>().is_ok()))
            .then_some(text)
    });
    versions.next().filter(|_| versions.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_musl_is_the_only_one() {
        assert_eq!(version(b"!<arch>\n1.2\0\x001.2.5\0.rodata\0a.b.c\0"), Some("1.2.5"));
        assert_eq!(version(b"\x001.2.5\0\x001.2.6\0"), None);
        assert_eq!(version(b""), None);
    }

    #[test]
    fn the_compiler_says_what_it_is() {
        let [standard, musl] = components("rustc 1\ncommit-hash: abc\nrelease: 1.95.0\n", "1.2.5");
        assert_eq!(standard.purl.as_deref(), Some("pkg:github/rust-lang/rust@1.95.0"));
        assert_eq!(standard.source, "Rust 1.95.0 at commit abc");
        assert_eq!(musl.purl.as_deref(), Some("pkg:generic/musl@1.2.5"));
    }
}
