//! A unit, with all its resources that PID 1 holds.

use std::io;
use std::os::fd::OwnedFd;

use octet_appliance::Unit;
use rustix::process::Pid;

use super::output::Output;
use super::sockets;
use crate::cgroup::Group;
use crate::spawn::VerdictSocket;
use crate::supervisor::SpawnRefusal;

pub struct Managed {
    pub unit: Unit,
    /// The group of the unit that authenticates operators, which may access the unit's sockets.
    operators: Option<u32>,
    pub output: Output,
    pub sockets: Vec<(String, OwnedFd)>,
    /// Why its sockets could not be opened.
    pub socket_error: Option<String>,
    /// Its control group, once it was started for the first time.
    pub group: Option<Group>,
    pub process: Option<Process>,
    /// Its last status text (`STATUS=`).
    pub status_text: Option<String>,
}

/// The main process of a unit.
pub struct Process {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    /// Reports whether the program was executed, while that is not known.
    pub verdict: Option<VerdictSocket>,
    /// Why its program was not executed.
    pub spawn_refusal: Option<SpawnRefusal>,
}

impl Managed {
    pub fn new(unit: Unit, operators: Option<u32>) -> io::Result<Self> {
        let output = Output::new()?;
        let (sockets, socket_error) = (vec![], None);
        let (group, process, status_text) = (None, None, None);
        Ok(Self { unit, operators, output, sockets, socket_error, group, process, status_text })
    }

    /// Opens its sockets, if they are not open.
    pub fn open_sockets(&mut self) {
        if self.sockets.is_empty() {
            (self.sockets, self.socket_error) = match sockets::open_all(&self.unit, self.operators)
            {
                Ok(sockets) => (sockets, None),
                Err(problem) => (vec![], Some(problem)),
            };
        }
    }

    pub fn name(&self) -> &str {
        self.unit.name.as_str()
    }
}
