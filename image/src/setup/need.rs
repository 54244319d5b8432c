//! The list of what is needed, and for what.

use std::fmt;

/// One thing that the host must have.
#[derive(Debug)]
pub struct Need {
    /// What people call it.
    pub name: &'static str,
    /// What it is for.
    pub why: &'static str,
    /// How to see that it is there.
    pub test: Test,
    /// Where it comes from.
    pub source: Source,
}

/// How to see that something is there.
#[derive(Debug)]
pub enum Test {
    /// `PATH` has this program; a newer one than Debian's is as good.
    Program(&'static str),
    /// This command ends with status 0.
    Succeeds(&'static [&'static str]),
    /// The Rust toolchain has the standard library of this target.
    RustTarget(&'static str),
    /// Our own folder of Python packages has this release.
    Python(&'static str),
}

/// Where something comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// Packages of Debian.
    Debian(&'static [&'static str]),
    /// A target of the Rust toolchain.
    Rustup(&'static str),
    /// A release on the Python package index, for our own folder.
    Pip(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian([one]) => write!(f, "Debian package {one}"),
            Self::Debian(several) => write!(f, "Debian packages {}", several.join(", ")),
            Self::Rustup(target) => write!(f, "rustup target {target}"),
            Self::Pip(release) => write!(f, "Python package {release}"),
        }
    }
}

const fn debian(name: &'static str, why: &'static str, packages: &'static [&'static str]) -> Need {
    Need { name, why, test: Test::Program(name), source: Source::Debian(packages) }
}

/// What building and booting needs.
pub static RUN: [Need; 6] = [
    debian("cc", "links the builder's own programs", &["gcc", "libc6-dev"]),
    debian("python3", "fetches the image's inputs, which are published as wheels", &["python3"]),
    Need {
        name: "pip",
        why: "fetches the image's inputs, which are published as wheels",
        test: Test::Succeeds(&["python3", "-m", "pip", "--version"]),
        source: Source::Debian(&["python3-pip"]),
    },
    Need {
        name: "static Rust programs",
        why: "what is in the image depends on no library of this host",
        test: Test::RustTarget("x86_64-unknown-linux-musl"),
        source: Source::Rustup("x86_64-unknown-linux-musl"),
    },
    debian("qemu-system-x86_64", "boots the image", &["qemu-system-x86"]),
    debian("setpriv", "sees that QEMU ends when its parent does", &["util-linux"]),
];

/// What the tests need besides: they hold what was built against tools that are not ours.
pub static TEST: [Need; 7] = [
    debian("git", "makes the clones that must give the same bytes", &["git"]),
    debian("unsquashfs", "must accept the root file system", &["squashfs-tools"]),
    debian("cpio", "must accept the initrd", &["cpio"]),
    debian("sha256sum", "must accept SHA256SUMS", &["coreutils"]),
    debian("unshare", "builds without a network", &["util-linux"]),
    debian("taskset", "builds on one processor", &["util-linux"]),
    Need {
        name: "spdx-tools",
        why: "must accept the SBOM",
        test: Test::Python("spdx_tools-0.8.5"),
        source: Source::Pip("spdx-tools==0.8.5"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_listed_twice() {
        let mut names: Vec<_> = RUN.iter().chain(&TEST).map(|need| need.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
