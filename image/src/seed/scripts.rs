//! Scripts of packages. None ever runs: what one would have done is data in `overlays/`, and
//! `overlays/scripts.toml` says so for each package that has one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use octet_appliance::{FileError, PackageName, parse};
use serde::Deserialize;

/// All scripts together; the seed's are 20 kB.
const MAX: u64 = 16 << 20;

/// `overlays/scripts.toml`: packages whose scripts were looked at.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handled {
    /// Why the script of an Alpine package need not run.
    handled: BTreeMap<PackageName, String>,
    /// The same for Debian packages.
    #[serde(default)]
    debian: BTreeMap<PackageName, String>,
}

impl Handled {
    /// Parses `text`, the content of `file`.
    pub fn parse(file: &str, text: &str) -> Result<Self, Box<FileError>> {
        parse(file, text)
    }

    /// Whether the script of Alpine's `package` is listed.
    pub fn contains(&self, package: &str) -> bool {
        self.handled.keys().any(|name| name.as_str() == package)
    }

    /// Whether the scripts of Debian's `package` are listed.
    pub fn contains_debian(&self, package: &str) -> bool {
        self.debian.keys().any(|name| name.as_str() == package)
    }
}

/// apk's archive of scripts: the names of its members.
#[derive(Debug, Default)]
pub struct Scripts {
    /// Each is `NAME-VERSION.CHECKSUM.KIND`.
    members: BTreeSet<String>,
}

impl Scripts {
    /// Reads `lib/apk/db/scripts.tar.gz`.
    pub fn parse(tar_gz: &[u8]) -> std::io::Result<Self> {
        let mut members = BTreeSet::new();
        let mut archive = tar::Archive::new(GzDecoder::new(tar_gz).take(MAX));
        for entry in archive.entries()? {
            members.insert(entry?.path()?.to_string_lossy().into_owned());
        }
        Ok(Self { members })
    }

    /// The kinds of scripts that a package has, such as `post-install` and `trigger`.
    pub fn of(&self, name: &str, version: &str) -> Vec<&str> {
        let prefix = format!("{name}-{version}.");
        let rest = self.members.iter().filter_map(|member| member.strip_prefix(&prefix));
        rest.filter_map(|rest| rest.split_once('.')).map(|(_, kind)| kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_scripts_of_a_package() {
        let members = ["busybox-1.37.0-r30.X1f13.post-install", "busybox-1.37.0-r30.X1f13.trigger"];
        let scripts = Scripts { members: members.map(str::to_owned).into() };
        assert_eq!(scripts.of("busybox", "1.37.0-r30"), ["post-install", "trigger"]);
        assert!(scripts.of("busy", "1.37.0-r30").is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Scripts::parse(&bytes);
        }
    }
}
