//! The limits of a unit by its author: PID 1's own program, a service of Octet's, or a program of
//! the appliance's owner. A compromised service must not gain more than its own rights, so no
//! service is root, and none of the owner's has power over others.

use super::UnitSource;
use crate::INIT_PROGRAM;
use crate::file_error::FileError;
use crate::unit::{Unit, UnitType};
use crate::user::USERS;

/// The first of the users for the owner's services.
const EXTRA_USER_PREFIX: &str = "extra-";

/// Rejects a unit with more rights than its author may give it.
pub(super) fn check(source: &UnitSource) -> Result<(), Box<FileError>> {
    let unit = &source.unit;
    if source.owner_supplied {
        return check_owner_unit(source);
    }
    let program = unit.unit_type != UnitType::Target;
    if program && unit.user.user().uid == 0 && !is_init_unit(unit) {
        let message = format!("unit `{}` is not PID 1's own, so it cannot be root", unit.name);
        return Err(source.error_at(&["user"], message, "remove `user`"));
    }
    Ok(())
}

fn is_init_unit(unit: &Unit) -> bool {
    unit.exec.as_ref().is_some_and(|exec| exec.as_str() == INIT_PROGRAM)
}

fn check_owner_unit(source: &UnitSource) -> Result<(), Box<FileError>> {
    let unit = &source.unit;
    let name = unit.name.as_str();
    if unit.unit_type == UnitType::Target {
        let hint = "remove `type`, and say `exec`: where in the image the program is to be";
        let message = "a service of yours has a program, a target has none".into();
        return Err(source.error_at(&["type"], message, hint));
    }
    if is_init_unit(unit) {
        let message = format!("{INIT_PROGRAM} is PID 1's own program");
        let hint = "name the place in the image where the program is to be";
        return Err(source.error_at(&["exec"], message, hint));
    }
    if USERS.iter().any(|user| user.name == name && !name.starts_with(EXTRA_USER_PREFIX)) {
        let message = format!("`{name}` is the name of a service of Octet's");
        return Err(source.error_at(&["name"], message, "give the unit another name"));
    }
    let user = unit.user.user().name;
    if !user.starts_with(EXTRA_USER_PREFIX) {
        let message = format!("a service of yours cannot run as `{user}`");
        let hint = "use one of extra-1 to extra-8 that is free";
        return Err(source.error_at(&["user"], message, hint));
    }
    if unit.operators {
        let message =
            "a service of yours cannot bring operators: it could ask every unit for anything";
        let hint = "name the verbs that it needs: `talks = { init = [\"status\"] }`";
        return Err(source.error_at(&["operators"], message.into(), hint));
    }
    if let Some((name, _)) = unit.sockets.iter().find(|(_, socket)| socket.raw.is_some()) {
        let message = "a service of yours cannot have a raw socket: it could speak as another";
        let hint = "remove it, or use a port";
        return Err(source.error_at(&["sockets", name.as_str(), "raw"], message.into(), hint));
    }
    let mut capabilities = unit.sandbox.capabilities.iter();
    if let Some(capability) = capabilities.find(|capability| capability.is_of_others()) {
        let keys = ["sandbox", "capabilities"];
        let message = format!(
            "a service of yours cannot have {}: with it one that is taken over could become another",
            capability.name()
        );
        let hint = "remove it; docs/units.md lists those that it may have";
        return Err(source.error_at(&keys, message, hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::start_order;
    use super::*;

    const HELLO: &str = "name = \"hello\"\nexec = \"/usr/lib/octet/hello\"\nuser = \"extra-1\"\n";

    fn order(text: &str, of_owner: bool) -> Result<Vec<usize>, Box<FileError>> {
        let mut source = UnitSource::parse("unit.toml".into(), text.to_owned())?;
        source.owner_supplied = of_owner;
        start_order(&[source])
    }

    #[test]
    fn only_pid_1s_own_program_is_root() {
        let own = "name = \"data\"\nexec = \"/proc/self/exe\"\nuser = \"root\"\n";
        assert!(order(own, false).is_ok());
        let console = "name = \"console\"\nexec = \"/usr/lib/octet/console\"\n";
        assert!(order(console, false).is_ok());
        let error = order(&format!("{console}user = \"root\"\n"), false).unwrap_err();
        assert_eq!((error.line, error.column), (3, 8), "{error}");
        assert!(order("name = \"all\"\ntype = \"target\"\n", false).is_ok());
    }

    #[test]
    fn an_owners_service_is_one_of_the_extra_users() {
        assert!(order(HELLO, true).is_ok());
        assert!(order(&HELLO.replace("extra-1", "extra-8"), true).is_ok());
        for user in ["root", "identity", "console"] {
            let error = order(&HELLO.replace("extra-1", user), true).unwrap_err();
            assert_eq!((error.line, error.column), (3, 8), "{error}");
            assert!(error.message.contains(user) && error.hint.contains("extra-1"), "{error}");
        }
        for (from, to, line) in [
            ("\"hello\"", "\"logd\"", 1),
            ("/usr/lib/octet/hello", INIT_PROGRAM, 2),
            ("user = \"extra-1\"", "[sandbox]\ncapabilities = [\"SYS_ADMIN\"]", 1),
        ] {
            let error = order(&HELLO.replace(from, to), true).unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
        let target = "name = \"mine\"\ntype = \"target\"\n";
        assert_eq!(order(target, true).unwrap_err().line, 2);
    }

    #[test]
    fn an_owners_service_brings_no_operators() {
        let text = format!("{HELLO}operators = true\n");
        assert!(order(&text, false).is_ok() && order(HELLO, true).is_ok());
        let error = order(&text, true).unwrap_err();
        assert_eq!((error.line, error.column), (4, 13), "{error}");
        assert!(order(&text.replace("true", "false"), true).is_ok());
    }

    #[test]
    fn an_owners_service_has_no_raw_socket() {
        let text = format!("{HELLO}[sockets.a]\nraw = \"icmpv6\"\n");
        assert!(order(&text, false).is_ok());
        assert_eq!(order(&text, true).unwrap_err().line, 5);
    }

    #[test]
    fn an_owners_service_has_no_power_over_others() {
        let with =
            |name: &str| format!("{HELLO}[sandbox]\ncapabilities = [\"SYS_TIME\", {name:?}]\n");
        for good in ["NET_BIND_SERVICE", "NET_RAW", "NET_ADMIN", "SYS_NICE", "IPC_LOCK"] {
            assert!(order(&with(good), true).is_ok(), "{good}");
        }
        for bad in [
            "SYS_MODULE",
            "SYS_ADMIN",
            "SYS_RAWIO",
            "SYS_PTRACE",
            "DAC_OVERRIDE",
            "DAC_READ_SEARCH",
            "SETUID",
            "SETGID",
            "SETPCAP",
            "SYS_BOOT",
            "BPF",
            "MKNOD",
            "CHOWN",
            "FOWNER",
            "SETFCAP",
            "KILL",
        ] {
            assert!(order(&with(bad), false).is_ok(), "{bad}");
            let error = order(&with(bad), true).unwrap_err();
            assert_eq!((error.line, error.column), (5, 16), "{error}");
            assert!(error.message.contains(bad), "{error}");
        }
    }
}
