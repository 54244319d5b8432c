//! The descriptors that PID 1 passes, by name: `output/UNIT` is the read end of a unit's pipe
//! (`init` for PID 1 itself); the other names are below.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use octet_node::control::UnitName;

/// The prefix of the names of units' pipes.
const OUTPUT: &str = "output/";

/// The kernel's log: `/dev/kmsg`, opened for non-blocking reads.
const KMSG: &str = "kmsg";

/// The journal: memory that outlives this process.
const JOURNAL: &str = "journal";

/// The control socket.
const CONTROL: &str = "control";

/// The inherited descriptors.
#[derive(Debug, Default)]
pub struct InheritedFds {
    pub pipes: Vec<(String, OwnedFd)>,
    pub kmsg: Option<OwnedFd>,
    pub journal: Option<OwnedFd>,
    /// Unknown names.
    pub unknown: Vec<String>,
    control: Option<OwnedFd>,
}

impl InheritedFds {
    /// Sorts the `inherited` descriptors by name.
    pub fn new(inherited: Vec<(String, OwnedFd)>) -> Self {
        let mut inputs = Self::default();
        for (name, file) in inherited {
            match (name.as_str(), unit_of(&name)) {
                (_, Some(unit)) => inputs.pipes.push((unit, file)),
                (KMSG, _) => inputs.kmsg = Some(file),
                (JOURNAL, _) => inputs.journal = Some(file),
                (CONTROL, _) => inputs.control = Some(file),
                _ => inputs.unknown.push(name),
            }
        }
        inputs
    }

    /// Takes the control socket.
    ///
    /// # Errors
    /// PID 1 has passed none, so that the log could never be read.
    pub fn listener(&mut self) -> io::Result<UnixListener> {
        let missing = || io::Error::other("PID 1 has passed no socket by the name `control`");
        let listener = UnixListener::from(self.control.take().ok_or_else(missing)?);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// The unit of the pipe `name`.
fn unit_of(name: &str) -> Option<String> {
    let unit = name.strip_prefix(OUTPUT)?.to_owned();
    UnitName::try_from(unit.clone()).is_ok().then_some(unit)
}

/// The number of bytes that PID 1 had to drop per unit, because logd did not read: the variable
/// `OCTET_LOST`, with items `unit=bytes` separated by spaces.
pub fn dropped_by_init() -> Vec<(String, u64)> {
    parse_dropped(&std::env::var("OCTET_LOST").unwrap_or_default())
}

fn parse_dropped(text: &str) -> Vec<(String, u64)> {
    let parse = |word: &str| {
        let (unit, bytes) = word.split_once('=')?;
        Some((unit.to_owned(), bytes.parse().ok()?))
    };
    text.split_whitespace().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_name() {
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let names = ["output/init", "kmsg", "output/lan", "journal", "control", "lan", "output/No"];
        let inputs =
            InheritedFds::new(names.iter().map(|&name| (name.to_owned(), file())).collect());
        let pipes: Vec<&str> = inputs.pipes.iter().map(|(unit, _)| unit.as_str()).collect();
        assert_eq!(pipes, ["init", "lan"]);
        assert!(inputs.kmsg.is_some() && inputs.journal.is_some() && inputs.control.is_some());
        assert_eq!(inputs.unknown, ["lan", "output/No"]);
        let mut without = InheritedFds::new(vec![("output/lan".to_owned(), file())]);
        assert!(without.listener().unwrap_err().to_string().contains("`control`"));
    }

    #[test]
    fn what_was_lost() {
        assert_eq!(parse_dropped("a=5 b=x lan=7"), [("a".to_owned(), 5), ("lan".to_owned(), 7)]);
        assert!(parse_dropped("").is_empty());
    }
}
