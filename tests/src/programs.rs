//! Programs of this workspace that tests start. `cargo image test` has compiled them all before the first one runs.

use std::path::PathBuf;

use octet_machine::Architecture;

/// `cargo image` as a program: the one that runs these tests.
pub fn builder() -> PathBuf {
    program("octet-image")
}

/// The operator's program, as it runs on the owner's machine.
///
/// # Panics
/// `cargo image test` does not run these tests.
pub fn octetctl() -> PathBuf {
    program("octetctl")
}

/// The person's program for letters, as it runs on their machine.
///
/// # Panics
/// `cargo image test` does not run these tests.
pub fn octet_msg() -> PathBuf {
    program("octet-msg")
}

/// The static program `name` of `tests/guests`, for x86-64.
///
/// # Panics
/// There is none of that name.
pub fn guest(name: &str) -> PathBuf {
    guest_for(Architecture::X86_64, name)
}

/// The static program `name` of `tests/guests`, for this processor; for Arm in the long tier only.
///
/// # Panics
/// There is none of that name.
pub fn guest_for(architecture: Architecture, name: &str) -> PathBuf {
    let target = match architecture {
        Architecture::X86_64 => "x86_64-unknown-linux-musl",
        Architecture::Aarch64 => "aarch64-unknown-linux-musl",
    };
    program(&format!("{target}/{name}"))
}

/// PID 1, built so that the kernel's command line can make it fail.
///
/// # Panics
/// `cargo image test` does not run these tests.
pub fn fault_build() -> PathBuf {
    guest("octet-init-with-faults")
}

/// netd, built so that the kernel's command line can make it fail; in the long tier only.
///
/// # Panics
/// `cargo image test --soak` does not run these tests.
pub fn fault_netd() -> PathBuf {
    guest("octet-netd")
}

fn program(name: &str) -> PathBuf {
    let path = made("OCTET_PROGRAMS").join(name);
    assert!(path.exists(), "{} is not there", path.display());
    path
}

/// The folder that this variable of `cargo image test` names.
///
/// # Panics
/// It does not run these tests.
pub fn made(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable);
    folder.expect("these tests are run by `cargo image test [NAME]`").into()
}
