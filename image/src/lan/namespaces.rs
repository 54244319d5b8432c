//! The namespaces that the device lives in.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use miette::{Diagnostic, IntoDiagnostic};
use rustix::io::{FdFlags, fcntl_setfd};

/// What `unshare` is told: the person keeps their number, and has the capabilities of these namespaces, also in
/// programs that are started there. Nothing outside is theirs by that.
const NAMESPACES: [&str; 6] =
    ["--user", "--map-current-user", "--keep-caps", "--net", "--mount", "--"];

/// The host does not let its users have namespaces.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("this host does not let you make network namespaces: {0}")]
#[diagnostic(help(
    "as root: `sysctl user.max_user_namespaces=10000`, and where they are there \
     `sysctl kernel.unprivileged_userns_clone=1` and `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; or run \
     both `cargo image run` and `cargo image lan` as root"
))]
struct Forbidden(String);

/// Replaces this program by `program` in namespaces of its own, which has the `sockets` by the same numbers.
pub fn enter(
    program: &Path,
    arguments: &[&OsStr],
    sockets: &[OwnedFd],
) -> miette::Result<Infallible> {
    check_allowed()?;
    for socket in sockets {
        fcntl_setfd(socket, FdFlags::empty()).into_diagnostic()?;
    }
    Err(Command::new("unshare").args(NAMESPACES).arg(program).args(arguments).exec())
        .into_diagnostic()
}

/// Whether the host lets it: some let a user have a namespace, but nothing in it.
fn check_allowed() -> Result<(), Forbidden> {
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).args(["ip", "link", "set", "lo", "up"]).stdin(Stdio::null());
    let output = command.output().map_err(|error| Forbidden(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Forbidden(String::from_utf8_lossy(&output.stderr).trim().replace('\n', ": ")))
}
