//! A service from its start to its end.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::callers::Callers;
use crate::inherited::inherited;
use crate::say;

/// What PID 1 gives a service, as its unit.toml asks for it.
#[derive(Debug)]
pub struct UnitEnvironment {
    /// Its sockets and other descriptors, by name.
    pub sockets: Vec<(String, OwnedFd)>,
    /// Its data folder, if there is one and it can be written.
    pub state: Option<PathBuf>,
    /// Its folder in memory, if it has one.
    pub runtime: Option<PathBuf>,
    /// Who may ask it for what.
    pub callers: Callers,
}

impl UnitEnvironment {
    /// The socket that unit.toml has as `[sockets.NAME]`. It can be taken once.
    pub fn socket<T: From<OwnedFd>>(&mut self, name: &str) -> io::Result<T> {
        let missing = || io::Error::other(format!("PID 1 has not passed the socket `{name}`"));
        let at = self.sockets.iter().position(|(it, _)| it == name).ok_or_else(missing)?;
        Ok(self.sockets.remove(at).1.into())
    }
}

/// Runs a service, which `serve` is, and says why if it cannot go on. Call it first of all in
/// `main`, before anything opens a descriptor.
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
