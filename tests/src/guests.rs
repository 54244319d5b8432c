//! Static programs for guests that no image has: those of `tests/guests`, and PID 1 and netd with faults.

use std::path::PathBuf;
use std::sync::OnceLock;

use octet_machine::Architecture;

use crate::builder::executables;

/// The Rust target of programs for guests with this processor.
fn target(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64-unknown-linux-musl",
        Architecture::Aarch64 => "aarch64-unknown-linux-musl",
    }
}

/// The static program `name` of `tests/guests`, for x86-64.
///
/// # Panics
/// It cannot be built, or there is none of that name.
pub fn guest(name: &str) -> PathBuf {
    guest_for(Architecture::X86_64, name)
}

/// The static program `name` of `tests/guests`, for this processor.
///
/// # Panics
/// It cannot be built, or there is none of that name.
pub fn guest_for(architecture: Architecture, name: &str) -> PathBuf {
    static X86_64: OnceLock<Vec<PathBuf>> = OnceLock::new();
    static AARCH64: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let guests = match architecture {
        Architecture::X86_64 => &X86_64,
        Architecture::Aarch64 => &AARCH64,
    };
    let args = ["--package", "octet-guests", "--bins", "--release"];
    let build = || executables(&[&args[..], &["--target", target(architecture)]].concat());
    guests
        .get_or_init(build)
        .iter()
        .find(|path| path.ends_with(name))
        .unwrap_or_else(|| panic!("tests/guests has no program `{name}`"))
        .clone()
}

/// PID 1, built so that the kernel's command line can make it fail.
///
/// # Panics
/// It cannot be built.
pub fn fault_build() -> PathBuf {
    static INIT: OnceLock<PathBuf> = OnceLock::new();
    INIT.get_or_init(|| with_faults("octet-init")).clone()
}

/// netd, built so that the kernel's command line can make it fail.
///
/// # Panics
/// It cannot be built.
pub fn fault_netd() -> PathBuf {
    static NETD: OnceLock<PathBuf> = OnceLock::new();
    NETD.get_or_init(|| with_faults("octet-netd")).clone()
}

fn with_faults(package: &str) -> PathBuf {
    // As what ships is compiled: how a program ends is a matter of its profile.
    let args = ["--package", package, "--features", "fault", "--profile", "appliance"];
    let built = executables(&[&args[..], &["--target", target(Architecture::X86_64)]].concat());
    built.into_iter().next().expect("cargo builds one program")
}
