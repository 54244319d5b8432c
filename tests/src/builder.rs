//! Programs of this workspace that run on this computer: the builder's own, and the operator's.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use cargo_metadata::Message;

use crate::image::workspace;

/// `cargo image` as a program: the one that runs these tests, else it is built.
///
/// # Panics
/// It cannot be built.
pub fn builder() -> PathBuf {
    static BUILDER: OnceLock<PathBuf> = OnceLock::new();
    BUILDER.get_or_init(|| std::env::var_os("OCTET_BUILDER").map_or_else(build, Into::into)).clone()
}

fn build() -> PathBuf {
    executables(&["--package", "octet-image"])
        .into_iter()
        .find(|path| path.ends_with("octet-image"))
        .unwrap_or_else(|| panic!("cargo built no octet-image"))
}

/// The operator's program, as it runs on the owner's machine.
///
/// # Panics
/// It cannot be built.
pub fn octetctl() -> PathBuf {
    static OCTETCTL: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let built = executables(&["--package", "octetctl"]).into_iter();
        built.last().expect("cargo builds one program")
    };
    OCTETCTL.get_or_init(build).clone()
}

/// What `cargo build` with `args` gives.
pub fn executables(args: &[&str]) -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args(["build", "--quiet", "--locked", "--message-format=json-render-diagnostics"])
        .args(args)
        // The host's linker knows only the host's processor; Rust brings one that knows all.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld")
        // What is built here as the image's programs are need not be as small.
        .envs([
            ("CARGO_PROFILE_APPLIANCE_LTO", "off"),
            ("CARGO_PROFILE_APPLIANCE_CODEGEN_UNITS", "16"),
        ])
        .output()
        .unwrap_or_else(|error| panic!("cargo: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build {args:?}:\n{said}");
    Message::parse_stream(output.stdout.as_slice())
        .filter_map(|message| match message {
            Ok(Message::CompilerArtifact(artifact)) => artifact.executable,
            _ => None,
        })
        .map(Into::into)
        .collect()
}
