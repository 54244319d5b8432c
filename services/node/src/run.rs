//! The start and end of a service process.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::callers::Callers;
use crate::inherited::inherited;
use crate::say;

/// What PID 1 passes to a service, as its unit.toml configures.
#[derive(Debug)]
pub struct UnitEnvironment {
    /// The sockets and other descriptors, by name.
    pub sockets: Vec<(String, OwnedFd)>,
    /// The data folder, if there is a writable one.
    pub state: Option<PathBuf>,
    /// The tmpfs folder, if there is one.
    pub runtime: Option<PathBuf>,
    /// The users that may call the service.
    pub callers: Callers,
}

impl UnitEnvironment {
    /// The socket of `[sockets.NAME]` in unit.toml. It can be taken once.
    pub fn socket<T: From<OwnedFd>>(&mut self, name: &str) -> io::Result<T> {
        let missing = || io::Error::other(format!("PID 1 has not passed the socket `{name}`"));
        let at = self.sockets.iter().position(|(it, _)| it == name).ok_or_else(missing)?;
        Ok(self.sockets.remove(at).1.into())
    }
}

/// Runs the service `serve` and logs the error that ends it. Call it first in `main`, before any descriptor is
/// opened.
pub fn run<E: Display>(serve: impl FnOnce(UnitEnvironment) -> Result<(), E>) -> ExitCode {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let given = UnitEnvironment {
        sockets: inherited(),
        state: folder("STATE_DIRECTORY"),
        runtime: folder("RUNTIME_DIRECTORY"),
        callers: Callers::from_environment(),
    };
    match serve(given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_are_found_by_name_whatever_their_order() {
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let mut given = UnitEnvironment {
            sockets: vec![("metrics".into(), null()), ("control".into(), null())],
            state: None,
            runtime: None,
            callers: Callers::default(),
        };
        assert!(given.socket::<UnixListener>("control").is_ok());
        let again = given.socket::<UnixListener>("control").unwrap_err();
        assert_eq!(again.to_string(), "PID 1 has not passed the socket `control`");
        assert!(given.socket::<UnixListener>("metrics").is_ok());
    }
}
