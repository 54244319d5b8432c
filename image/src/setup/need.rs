//! The list of what is needed, and for what.

use std::fmt;

/// One thing that the host must have.
#[derive(Debug)]
pub struct Need {
    pub name: &'static str,
    pub why: &'static str,
    /// How to see that it is there.
    pub test: Test,
    pub source: ToolSource,
}

/// How to see that something is there.
#[derive(Debug)]
pub enum Test {
    /// `PATH` has this program, or a folder of root's programs; a newer one than Debian's is as
    /// good.
    Program(&'static str),
    File(&'static str),
    /// This command, whose program our own folder of unpacked packages has, ends with status 0.
    Unpacked(&'static str, &'static [&'static str]),
    /// Our own folder of what guests run has these files.
    InGuests(&'static [&'static str]),
    /// This command ends with status 0.
    Succeeds(&'static [&'static str]),
    /// The Rust toolchain has the standard library of this target.
    RustTarget(&'static str),
    /// Our own folder of Python packages has this release.
    Python(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub enum ToolSource {
    Debian(&'static [&'static str]),
    /// Packages of Debian that are not installed, because their scripts would change this host, but
    /// unpacked into our own folder, with those that they depend on.
    Unpacked(&'static [&'static str]),
    /// Packages of Debian for x86-64 that only guests run, unpacked into a folder apart.
    Guests(&'static [&'static str]),
    /// A target of the Rust toolchain.
    Rustup(&'static str),
    /// A release on the Python package index, for our own folder.
    Pip(&'static str),
}

impl fmt::Display for ToolSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian([one]) => write!(f, "Debian package {one}"),
            Self::Debian(several) => write!(f, "Debian packages {}", several.join(", ")),
            Self::Unpacked(packages) => {
                let first = packages.first().copied().unwrap_or_default();
                write!(f, "Debian package {first}, unpacked into our own folder")
            }
            Self::Guests(packages) => {
                write!(f, "Debian packages {}, unpacked into our own folder", packages.join(", "))
            }
            Self::Rustup(target) => write!(f, "rustup target {target}"),
            Self::Pip(release) => write!(f, "Python package {release}"),
        }
    }
}

const fn debian(name: &'static str, why: &'static str, packages: &'static [&'static str]) -> Need {
    Need { name, why, test: Test::Program(name), source: ToolSource::Debian(packages) }
}

const fn file(
    name: &'static str,
    path: &'static str,
    why: &'static str,
    packages: &'static [&'static str],
) -> Need {
    Need { name, why, test: Test::File(path), source: ToolSource::Debian(packages) }
}

const fn rust(name: &'static str, target: &'static str) -> Need {
    let why = "what is in the image depends on no library of this host";
    Need { name, why, test: Test::RustTarget(target), source: ToolSource::Rustup(target) }
}

/// What building needs, whatever the image is for.
pub static BUILD: [Need; 5] = [
    debian("cc", "links the builder's own programs", &["gcc", "libc6-dev"]),
    debian("python3", "fetches the image's inputs, which are published as wheels", &["python3"]),
    Need {
        name: "pip",
        why: "fetches the image's inputs, which are published as wheels",
        test: Test::Succeeds(&["python3", "-m", "pip", "--version"]),
        source: ToolSource::Debian(&["python3-pip"]),
    },
    debian("apt-get", "fetches the image's inputs that are packages of Debian", &["apt"]),
    debian("setpriv", "sees that QEMU ends when its parent does", &["util-linux"]),
];

/// What building for x86-64 needs besides, and booting that.
pub static X86_64: [Need; 3] = [
    rust("static Rust programs", "x86_64-unknown-linux-musl"),
    debian("qemu-system-x86_64", "boots the image", &["qemu-system-x86"]),
    file(
        "OVMF",
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "firmware that boots the image from its disk",
        &["ovmf"],
    ),
];

/// The same for 64-bit Arm.
pub static AARCH64: [Need; 3] = [
    rust("static Rust programs for Arm", "aarch64-unknown-linux-musl"),
    debian("qemu-system-aarch64", "boots the image for Arm", &["qemu-system-arm"]),
    file(
        "AAVMF",
        "/usr/share/AAVMF/AAVMF_CODE.fd",
        "firmware that boots the image for Arm from its disk",
        &["qemu-efi-aarch64"],
    ),
];

/// What a device in the lan of a box needs.
pub static LAN: [Need; 2] = [
    debian("unshare", "makes the device's namespaces", &["util-linux"]),
    debian("ip", "makes the device's network card", &["iproute2"]),
];

/// What the tests need besides: they hold what was built against tools that are not ours.
pub static TEST: [Need; 16] = [
    debian("git", "makes the clones that must give the same bytes", &["git"]),
    debian("unsquashfs", "must accept the root file system", &["squashfs-tools"]),
    debian("readelf", "tells how programs are linked", &["binutils"]),
    debian("cpio", "must accept the initrd", &["cpio"]),
    debian("sha256sum", "must accept SHA256SUMS", &["coreutils"]),
    debian("sgdisk", "must accept the partition table", &["gdisk"]),
    debian("fsck.vfat", "must accept the EFI system partition", &["dosfstools"]),
    debian("mdir", "must find the files of the EFI system partition", &["mtools"]),
    debian("e2fsck", "must accept the data partition", &["e2fsprogs"]),
    debian("zstd", "must unpack the packed disk", &["zstd"]),
    file(
        "U-Boot",
        "/usr/lib/u-boot/qemu_arm64/u-boot.bin",
        "must start a disk for boards, in a guest for Arm",
        &["u-boot-qemu", "qemu-system-arm"],
    ),
    Need {
        name: "bootctl",
        why: "must find the slot",
        test: Test::Unpacked("usr/bin/bootctl", &["--version"]),
        // Installed, systemd-boot would put itself onto the ESP of a host that has one. The others
        // are what its libsystemd-shared depends on, as its control file says, but the C library.
        source: ToolSource::Unpacked(&[
            "systemd-boot",
            "libsystemd-shared",
            "libacl1",
            "libapparmor1",
            "libaudit1",
            "libblkid1",
            "libcap2",
            "libcap-ng0",
            "libcrypt1",
            "libgcrypt20",
            "libgpg-error0",
            "libip4tc2",
            "libkmod2",
            "liblz4-1",
            "liblzma5",
            "libmount1",
            "libpam0g",
            "libpcre2-8-0",
            "libseccomp2",
            "libselinux1",
            "libssl3",
            "libzstd1",
        ]),
    },
    debian("losetup", "makes a disk of a file", &["mount"]),
    debian("tmux", "is the terminal in which the tests of `octet-msg` type", &["tmux"]),
    debian("zbarimg", "must read the QR code of an invite from a terminal", &["zbar-tools"]),
    Need {
        name: "spdx-tools",
        why: "must accept the SBOM",
        test: Test::Python("spdx_tools-0.8.5"),
        source: ToolSource::Pip("spdx-tools==0.8.5"),
    },
];

/// What the long tier of the suite needs besides.
pub static SOAK: [Need; 4] = [
    debian("chromium", "shows a film that a board's cache serves", &["chromium"]),
    debian("ffmpeg", "makes that film", &["ffmpeg"]),
    Need {
        name: "ntia-checker",
        why: "must find in the SBOM all that has to be in one",
        test: Test::Python("ntia_conformance_checker-6.0.0"),
        source: ToolSource::Pip("ntia-conformance-checker==6.0.0"),
    },
    Need {
        name: "cyclonedx-python-lib",
        why: "must accept the other SBOM",
        test: Test::Python("cyclonedx_python_lib-11.12.0"),
        source: ToolSource::Pip("cyclonedx-python-lib[json-validation]==11.12.0"),
    },
];

/// What the benchmark of supervisors needs besides.
pub static SUPERVISORS: [Need; 1] = [Need {
    name: "s6, runit and finit",
    why: "run as PID 1 of guests, beside Octet's",
    test: Test::InGuests(&[
        "usr/bin/s6-svscan",
        "usr/bin/runsvdir",
        "sbin/finit",
        "lib/x86_64-linux-gnu/libc.so.6",
    ]),
    // Behind the first three stands what these depend on, as their control files say. finit's plug-ins are left out: it supervises without them, and has less to do.
    source: ToolSource::Guests(&[
        "s6",
        "runit",
        "finit",
        "libs6-2.11",
        "libexecline2.9",
        "libskarnet2.13",
        "libite5",
        "libuev3",
        "libc6",
    ]),
}];

/// What netd and forward run, on this host, too: by this path, and no other.
pub static NFT: [Need; 1] = [file(
    "nft",
    "/usr/sbin/nft",
    "loads rules, for netd, for forward and beside them",
    &["nftables"],
)];

/// What the benchmark of a router needs besides that.
pub static SEGMENTS: [Need; 1] = [debian(
    "ip",
    "makes a router's ports, and sets links and addresses beside netd",
    &["iproute2"],
)];

/// The web server beside which a node stands, in the long tier and in the benchmark of objects.
pub static NGINX: [Need; 1] = [Need {
    name: "nginx",
    why: "gives the same files, beside cache",
    test: Test::Unpacked("usr/sbin/nginx", &["-v"]),
    // Installed, it would serve at port 80 of this host. The others are what it depends on, as its control file
    // says, but the C library.
    source: ToolSource::Unpacked(&["nginx", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"]),
}];

/// What the benchmark of objects needs besides.
pub static CACHE: [Need; 1] = [debian("wrk", "asks cache and nginx for small objects", &["wrk"])];

/// What the benchmark of paths needs besides.
pub static PATHS: [Need; 1] = [Need {
    name: "Yggdrasil and Nebula",
    why: "carry bytes in a guest, beside forward's paths",
    test: Test::InGuests(&[
        "usr/sbin/yggdrasil",
        "usr/bin/nebula",
        "usr/bin/nebula-cert",
        "lib/x86_64-linux-gnu/libc.so.6",
    ]),
    // The last one is all that these depend on, as their control files say.
    source: ToolSource::Guests(&["yggdrasil", "nebula", "libc6"]),
}];

/// What compiling U-Boot for boards needs (`flash --build-u-boot`).
pub static U_BOOT: [Need; 9] = [
    debian("make", "compiles U-Boot", &["make"]),
    debian("aarch64-linux-gnu-gcc", "compiles U-Boot", &["gcc-aarch64-linux-gnu"]),
    debian("bison", "compiles U-Boot's configuration", &["bison"]),
    debian("flex", "compiles U-Boot's configuration", &["flex"]),
    debian("swig", "makes the Python module with which U-Boot's image is made", &["swig"]),
    debian("bc", "compiles U-Boot", &["bc"]),
    debian("patch", "applies Debian's changes to U-Boot's source", &["patch"]),
    file("OpenSSL", "/usr/include/openssl/evp.h", "compiles U-Boot's tools", &["libssl-dev"]),
    Need {
        name: "Python's headers and setuptools",
        why: "make the Python module with which U-Boot's image is made",
        test: Test::Succeeds(&[
            "/usr/bin/python3",
            "-c",
            "import os, setuptools, sysconfig; os.stat(sysconfig.get_path('include') + '/Python.h')",
        ]),
        source: ToolSource::Debian(&["python3-dev", "python3-setuptools"]),
    },
];

/// What a second build needs that is like one on another machine.
pub static VERIFY: [Need; 3] = [
    debian("datefudge", "builds on another day", &["datefudge"]),
    debian("unshare", "builds on a host of another name, and without a network", &["util-linux"]),
    debian("taskset", "builds on one processor", &["util-linux"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_listed_twice() {
        let all = [
            &BUILD[..],
            &X86_64,
            &AARCH64,
            &TEST,
            &SOAK,
            &SUPERVISORS,
            &NFT,
            &SEGMENTS,
            &NGINX,
            &CACHE,
            &PATHS,
            &U_BOOT,
            &VERIFY,
        ];
        let mut names: Vec<_> = all.into_iter().flatten().map(|need| need.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
