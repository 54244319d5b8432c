//! The users that may call this service, and their verbs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;

use octet_appliance::USERS;
use octet_control::{ANY_VERB, By, DESCRIBE, Failure, FailureCode, Request, UnitName};

/// The user of PID 1, which calls for itself and for operators.
pub const PID_1: u32 = 0;

/// The users that may call this service, with the verbs of each. PID 1 makes the list from the unit files and
/// passes it as `OCTET_CALLERS`: `UID=verb,verb;UID=verb`. The verb `*` marks a unit that may impersonate
/// operators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callers {
    /// PID 1's user: differs from [`PID_1`] in tests.
    pid_1: u32,
    verbs: BTreeMap<u32, BTreeSet<String>>,
}

impl Callers {
    /// The callers of this process. With a malformed list only PID 1 may call: refusing a caller is safer than
    /// accepting a wrong one.
    pub fn from_environment() -> Self {
        let list = std::env::var("OCTET_CALLERS").unwrap_or_default();
        Self::parse(&list).unwrap_or_default()
    }

    /// Parses the list; `None` if it is malformed.
    pub fn parse(list: &str) -> Option<Self> {
        let mut all = BTreeMap::new();
        for caller in list.split(';').filter(|_| !list.is_empty()) {
            let (uid, verbs) = caller.split_once('=')?;
            let digits = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit());
            let uid: u32 = digits.then(|| uid.parse().ok())??;
            let verbs: BTreeSet<String> = verbs.split(',').map(str::to_owned).collect();
            if verbs.contains("") || all.insert(uid, verbs).is_some() {
                return None;
            }
        }
        Some(Self { pid_1: PID_1, verbs: all })
    }

    /// The same, with `uid` as PID 1's user.
    #[must_use]
    pub fn with_pid_1(self, uid: u32) -> Self {
        Self { pid_1: uid, ..self }
    }

    pub fn is_pid_1(&self, uid: u32) -> bool {
        uid == self.pid_1
    }

    /// The effective caller, if a process of user `uid` claims to act for `by`. An operator's request counts as
    /// PID 1's, whichever unit relays it: the relaying unit's own rights are not the operator's. Claims of
    /// other users are ignored.
    pub fn effective_caller(&self, uid: u32, by: Option<By>) -> (u32, Option<By>) {
        match by {
            Some(By::Operator(_)) if self.may_impersonate(uid) => (self.pid_1, by),
            _ if self.is_pid_1(uid) => (uid, by),
            _ => (uid, None),
        }
    }

    /// Whether user `uid` may impersonate operators.
    pub fn may_impersonate(&self, uid: u32) -> bool {
        self.verbs.get(&uid).is_some_and(|verbs| verbs.contains(ANY_VERB))
    }

    /// Whether user `uid` may use `verb`. Every listed user may also list the verbs.
    pub fn is_permitted(&self, uid: u32, verb: &str) -> bool {
        let listed = self.verbs.get(&uid);
        self.is_pid_1(uid) || listed.is_some_and(|verbs| verb == DESCRIBE || verbs.contains(verb))
    }

    pub fn is_listed(&self, uid: u32) -> bool {
        self.is_permitted(uid, DESCRIBE)
    }

    /// Checks whether a process of user `uid` may make `request`, and corrects for whom it claims to. Returns the
    /// effective caller.
    ///
    /// # Errors
    /// It may not.
    pub fn admit(&self, uid: u32, request: &mut Request) -> Result<u32, Failure> {
        let (uid, by) = self.effective_caller(uid, request.by.take());
        request.by = by;
        self.check(uid, &request.verb)?;
        Ok(uid)
    }

    /// [`is_permitted`](Self::is_permitted) as a `Result`.
    pub fn check(&self, uid: u32, verb: &str) -> Result<(), Failure> {
        if self.is_permitted(uid, verb) {
            return Ok(());
        }
        Err(Failure::new(
            FailureCode::Denied,
            format!("user {uid} may not ask for `{verb}`"),
            "ask as an operator, or name the verb in the unit file of the service that asks",
        ))
    }
}

/// The user of the process that connected a Unix socket, by the kernel (`SO_PEERCRED`).
pub fn peer_uid(stream: impl AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw())
}

/// The unit of user `uid`; `None` for root. A service of Octet has a user of its own name; an owner's unit is
/// named by its user here.
pub fn unit_of(uid: u32) -> Option<UnitName> {
    USERS
        .iter()
        .find(|user| user.uid == uid && uid != PID_1)
        .and_then(|user| user.name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_is_listed_may_what_is_listed() {
        let callers = Callers::parse("101=logs,stats;110=logs").unwrap();
        for (uid, verb) in [(101, "logs"), (101, "stats"), (110, "logs"), (110, "describe")] {
            assert!(callers.check(uid, verb).is_ok(), "{uid} {verb}");
        }
        assert!(callers.is_permitted(0, "logs") && callers.is_permitted(0, "anything"));
        for (uid, verb) in [(110, "stats"), (111, "logs"), (111, "describe"), (101, "log")] {
            assert_eq!(callers.check(uid, verb).unwrap_err().code, FailureCode::Denied);
        }
    }

    #[test]
    fn who_brings_operators_has_rights_of_its_own() {
        let callers = Callers::parse("107=sections,*;110=logs").unwrap();
        let key = Some(By::Operator(octet_control::PublicKey::new([7; 32])));
        for (uid, said, asker) in [
            (107, key, (PID_1, key)),
            (107, None, (107, None)),
            (107, Some(By::Root), (107, None)),
            (107, Some(By::Port), (107, None)),
            (110, key, (110, None)),
            (PID_1, Some(By::Port), (PID_1, Some(By::Port))),
            (PID_1, key, (PID_1, key)),
            (PID_1, None, (PID_1, None)),
        ] {
            assert_eq!(callers.effective_caller(uid, said), asker, "{uid} {said:?}");
        }
        assert!(callers.is_permitted(107, "sections") && !callers.is_permitted(107, "logs"));
    }

    #[test]
    fn nobody_is_let_in_by_a_mistake() {
        assert!(Callers::parse("101=logs").unwrap().is_permitted(101, "logs"));
        for bad in [
            "101",
            "101=",
            "=logs",
            "x=logs",
            "+101=logs",
            "101=logs;",
            "101=logs;;1=a",
            "101=logs;101=stats",
            "101=logs,",
            "101=logs;4294967296=a",
        ] {
            assert_eq!(Callers::parse(bad), None, "{bad}");
        }
        assert_eq!(Callers::parse(""), Some(Callers::default()));
        assert!(!Callers::default().is_permitted(101, "describe"));
    }

    #[test]
    fn the_kernel_knows_the_peer() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&one).unwrap(), rustix::process::geteuid().as_raw());
    }

    proptest! {
        #[test]
        fn never_panics(list in "[0-9=,;a-z]{0,40}", uid: u32, verb in "[a-z]{0,3}") {
            let callers = Callers::parse(&list).unwrap_or_default();
            // A user that is not in the list is refused.
            prop_assert!(!callers.is_permitted(uid, &verb) || uid == 0 || list.contains(&uid.to_string()));
        }
    }
}
