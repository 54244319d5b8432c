//! Which caller may call which verbs.

use std::collections::{BTreeMap, HashMap};

use octet_appliance::{Unit, UnitName};
use octet_control::settings::{READER_VERBS, SECTIONS};
use octet_control::{ANY_VERB, CONFIG, DESCRIBE, Failure, FailureCode, INIT};

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Root,
    /// The control port: may call everything.
    Port,
    /// A unit that authenticates operators: may call everything.
    Authenticator,
    /// A process of this user: may call what its unit file allows.
    User(u32),
}

impl Caller {
    /// Whether the caller has an operator's rights.
    pub fn is_operator(self) -> bool {
        !matches!(self, Self::User(_))
    }
}

/// Classifies a process of user `uid`.
pub fn classify(uid: u32, operators: &[u32]) -> Caller {
    match uid {
        0 => Caller::Root,
        uid if operators.contains(&uid) => Caller::Authenticator,
        uid => Caller::User(uid),
    }
}

/// The users of the units that authenticate operators.
pub fn operators(units: &[Unit]) -> Vec<u32> {
    let bring = units.iter().filter(|unit| unit.operators);
    bring.map(|unit| unit.user.user().uid).collect()
}

/// Whether `caller` may call `verb` of PID 1. A unit that may call any verb may also list them.
pub fn check(caller: Caller, verb: &str, units: &[&Unit]) -> Result<(), Failure> {
    let Caller::User(uid) = caller else { return Ok(()) };
    let unit = units.iter().find(|unit| unit.user.user().uid == uid);
    let verbs = unit.and_then(|unit| {
        unit.talks.iter().find(|(name, _)| name.as_str() == INIT).map(|(_, verbs)| verbs)
    });
    if verbs.is_some_and(|verbs| verb == DESCRIBE || verbs.iter().any(|known| known == verb)) {
        return Ok(());
    }
    let who = unit.map_or_else(|| format!("user {uid}"), |unit| format!("unit `{}`", unit.name));
    Err(Failure::new(
        FailureCode::Denied,
        format!("{who} may not call `{verb}` of `{INIT}`"),
        "a unit may call the verbs that `talks` in its unit.toml names; all else is the operator's",
    ))
}

/// The permitted verbs of each unit by user, as `OCTET_CALLERS` passes them:
/// `UID=verb,verb;UID=verb`. It is computed once, so that a start need not iterate over all units.
///
/// Units that read settings call the unit that has them, which reports changes to them. Units that
/// authenticate operators reach every unit with a socket.
pub fn permitted_verbs(units: &[Unit]) -> HashMap<UnitName, String> {
    let config = units.iter().find(|unit| unit.name.as_str() == CONFIG);
    let mut all = HashMap::<UnitName, BTreeMap<u32, Vec<String>>>::new();
    let mut allow = |called: &Unit, by: &Unit, verbs: &[&str]| {
        let by = all.entry(called.name.clone()).or_default().entry(by.user.user().uid).or_default();
        by.extend(verbs.iter().map(|&verb| verb.to_owned()));
    };
    for reader in units.iter().filter(|unit| !unit.config.is_empty()) {
        if let Some(config) = config {
            allow(config, reader, &[SECTIONS]);
            allow(reader, config, &READER_VERBS);
        }
    }
    for unit in units.iter().filter(|unit| unit.sockets.values().any(|it| it.path.is_some())) {
        for brings in units.iter().filter(|unit| unit.operators) {
            allow(unit, brings, &[ANY_VERB]);
        }
    }
    for unit in units {
        let uid = unit.user.user().uid;
        for (called, verbs) in &unit.talks {
            let all = all.entry(called.clone()).or_default().entry(uid).or_default();
            all.extend(verbs.iter().cloned());
        }
    }
    let list = |(uid, verbs): (u32, Vec<String>)| format!("{uid}={}", verbs.join(","));
    let lists = |by: BTreeMap<_, _>| by.into_iter().map(list).collect::<Vec<_>>().join(";");
    all.into_iter().map(|(called, by)| (called, lists(by))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::UnitSource;

    fn unit(name: &str, user: usize, lines: &str) -> Unit {
        let text = format!("name = \"{name}\"\nexec = \"/x\"\nuser = \"extra-{user}\"\n{lines}");
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    }

    #[test]
    fn only_what_the_unit_file_names() {
        let screen =
            unit("screen", 1, "talks = { init = [\"watch\"], book = [\"read\", \"list\"] }");
        let book = unit("book", 2, "");
        let units = [&screen, &book];
        let may = |caller, verb| check(caller, verb, &units).is_ok();
        assert!(may(Caller::User(901), "watch") && may(Caller::User(901), "describe"));
        assert!(!may(Caller::User(901), "poweroff") && !may(Caller::User(901), "read"));
        assert!(!may(Caller::User(902), "watch") && !may(Caller::User(902), "describe"));
        assert!(!may(Caller::User(5), "watch") && may(Caller::Root, "poweroff"));
        let gate = unit("gate", 3, "operators = true");
        let operators = operators(&[screen.clone(), gate, book.clone()]);
        let known = |uid| classify(uid, &operators);
        assert_eq!((known(903), known(0)), (Caller::Authenticator, Caller::Root));
        assert_eq!((known(901), known(904)), (Caller::User(901), Caller::User(904)));
        let lists = permitted_verbs(&[screen.clone(), book.clone()]);
        assert_eq!(lists.get(&book.name).map(String::as_str), Some("901=read,list"));
        assert_eq!(lists.get(&screen.name), None);
    }

    #[test]
    fn who_reads_settings_and_who_has_them_talk() {
        let socket = "[sockets.control]\npath = \"/run/octet/door.sock\"\nopen = true";
        let door = unit("door", 1, &format!("config = [\"operator\"]\n{socket}"));
        let screen = unit("screen", 2, "talks.door = [\"show\"]\ntalks.config = [\"show\"]");
        let config = unit("config", 3, "");
        let lists = permitted_verbs(&[door.clone(), screen.clone(), config.clone()]);
        assert_eq!(lists[&door.name], "902=show;903=config-check,config-apply");
        assert_eq!(lists[&config.name], "901=sections;902=show");
        let lists = permitted_verbs(&[door.clone(), screen]);
        assert_eq!(lists[&door.name], "902=show");
        // A unit that authenticates operators reaches every socket, including its own.
        let socket = socket.replace("door", "gate");
        let gate = unit("gate", 4, &format!("operators = true\nconfig = [\"operator\"]\n{socket}"));
        let lists = permitted_verbs(&[door.clone(), gate.clone(), config.clone()]);
        assert_eq!(lists[&door.name], "903=config-check,config-apply;904=*");
        assert_eq!(lists[&gate.name], "903=config-check,config-apply;904=*");
        assert_eq!(lists[&config.name], "901=sections;904=sections");
    }
}
