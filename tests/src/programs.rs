//! Programs of this workspace that tests start. `cargo image test` compiles them before the tests.

use std::path::PathBuf;

use octet_machine::Architecture;

/// `cargo image` as a program: the one that runs these tests.
pub fn builder() -> PathBuf {
    program("octet-image")
}

/// `octetctl`, for the owner's machine.
///
/// # Panics
/// The tests are not run by `cargo image test`.
pub fn octetctl() -> PathBuf {
    program("octetctl")
}

/// `octet-msg`, for the user's machine.
///
/// # Panics
/// The tests are not run by `cargo image test`.
pub fn octet_msg() -> PathBuf {
    program("octet-msg")
}

/// The static program `name` of `tests/guests`, for x86-64.
///
/// # Panics
/// It does not exist.
pub fn guest(name: &str) -> PathBuf {
    guest_for(Architecture::X86_64, name)
}

/// The static program `name` of `tests/guests`, for this processor; for Arm in the long tier only.
///
/// # Panics
/// It does not exist.
pub fn guest_for(architecture: Architecture, name: &str) -> PathBuf {
    let target = match architecture {
        Architecture::X86_64 => "x86_64-unknown-linux-musl",
        Architecture::Aarch64 => "aarch64-unknown-linux-musl",
    };
    program(&format!("{target}/{name}"))
}

/// PID 1 with fault injection by the kernel command line.
///
/// # Panics
/// The tests are not run by `cargo image test`.
pub fn fault_build() -> PathBuf {
    guest("octet-init-with-faults")
}

/// netd with fault injection by the kernel command line; in the long tier only.
///
/// # Panics
/// The tests are not run by `cargo image test --soak`.
pub fn fault_netd() -> PathBuf {
    guest("octet-netd")
}

fn program(name: &str) -> PathBuf {
    let path = made("OCTET_PROGRAMS").join(name);
    assert!(path.exists(), "{} is not there", path.display());
    path
}

/// The folder in this variable of `cargo image test`.
///
/// # Panics
/// The variable is not set, because another program runs the tests.
pub fn made(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable);
    folder.expect("these tests are run by `cargo image test [NAME]`").into()
}
