//! `unit.toml`: how a service runs.
//!
//! A person writes TOML; the builder checks it and hands PID 1 the same unit as JSON, so that
//! nothing is parsed twice and PID 1 needs no TOML.

mod bounds;
mod check;
mod device;
#[cfg(test)]
mod docs;
mod lifecycle;
mod limits;
mod sandbox;
mod socket;
mod system_calls;

pub use device::{DevicePath, InvalidDevice};
pub use lifecycle::{Restart, RestartPolicy, Signal, StartLimits, Stop};
pub use limits::{IoMax, Limits};
pub use sandbox::{Capability, NetworkAccess, Sandbox};
pub use socket::{InvalidPort, Port, Protocol, RawProtocol, UnitSocket};
pub use system_calls::CallGroup;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::bytes::Bytes;
use crate::document::parse;
use crate::duration::TimeSpan;
use crate::file_error::FileError;
use crate::name::{ModuleName, UnitName};
use crate::path::ImagePath;
use crate::section::SettingsSection;
use crate::user::UserName;

/// One unit, as PID 1 runs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Its name, and that of its socket and folders.
    pub name: UnitName,
    /// One line for people.
    pub description: String,
    /// What kind of unit it is.
    pub unit_type: UnitType,
    /// Whether the appliance is ready only once this unit is.
    pub base: bool,
    /// The program; only a target has none.
    pub exec: Option<ImagePath>,
    /// Arguments after the program's own name.
    pub args: Vec<String>,
    /// The whole environment besides what PID 1 sets (`NOTIFY_SOCKET`, `OCTET_UNIT`).
    pub env: BTreeMap<String, String>,
    /// The user it runs as.
    pub user: UserName,
    /// Units that must be ready before it starts; it stops before they do.
    pub needs: Vec<UnitName>,
    /// Units that, if they are in the image, settle (ready or failed) before it starts.
    pub after: Vec<UnitName>,
    /// Kernel modules that it uses: they are in the image, and loaded at every start.
    pub modules: Vec<ModuleName>,
    /// Kernel modules that it uses on the router of a box besides: they are loaded there alone.
    #[serde(default)]
    pub router_modules: Vec<ModuleName>,
    /// How it says that it is ready.
    pub readiness: Readiness,
    /// Where its output goes.
    pub stdio: Stdio,
    /// Bounds on starting.
    pub start: StartLimits,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// How it is stopped.
    pub stop: Stop,
    /// The signal that has it read its settings again; without one it cannot.
    pub reload: Option<Signal>,
    /// It must send `WATCHDOG=1` at least this often once it is ready, or it is killed and counts
    /// as failed.
    pub watchdog: Option<TimeSpan>,
    /// Whether it has a data folder: `/data/<name>`, its own, named by `$STATE_DIRECTORY`.
    pub state: bool,
    /// Whether it has a folder in memory that outlives its restarts, but not a boot: `/run/octet/memory/<name>`,
    /// its own, of 32 MiB at most, named by `$RUNTIME_DIRECTORY`.
    #[serde(default)]
    pub runtime: bool,
    /// The ports it serves, by names that policies use.
    pub ports: BTreeMap<UnitName, Port>,
    /// The sockets that are opened for it and passed to it as `LISTEN_FDS`, by name.
    pub sockets: BTreeMap<UnitName, UnitSocket>,
    /// The verbs that it may call, by the unit that has them.
    pub talks: BTreeMap<UnitName, Vec<String>>,
    /// Units of `talks` that the image may lack: it does without them.
    #[serde(default)]
    pub optional: Vec<UnitName>,
    /// The ports of other units on the same board that it may reach, by the unit that serves them.
    #[serde(default)]
    pub reaches: BTreeMap<UnitName, Vec<UnitName>>,
    /// Sections of `appliance.toml` that it may read. It is asked whether it accepts a change of
    /// one, and told of it, at its socket in the folder of sockets.
    #[serde(default)]
    pub config: Vec<SettingsSection>,
    /// Whether it brings operators: it may ask every unit for every verb, and has to see to it that
    /// whom it asks for may. Only a unit of Octet's own can be trusted with that.
    pub operators: bool,
    /// How much it may write to the log.
    pub log: Log,
    /// What it may use of the machine.
    pub limits: Limits,
    /// What it may do and see.
    pub sandbox: Sandbox,
    /// Files of [`crate::FILTERS`] with the system calls that it may use, in the order in which they
    /// are loaded. The builder makes them of `sandbox.system_calls`; a unit file cannot name any.
    #[serde(default)]
    pub filters: Vec<String>,
    /// The boards that it runs on; without a list it runs on every node. The builder takes them from
    /// `[[board]]`; a unit file cannot name any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boards: Option<Vec<u8>>,
}

/// What kind of unit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum UnitType {
    /// Runs for as long as the appliance does.
    #[default]
    Daemon,
    /// Runs once, to its end.
    OneShot,
    /// Has no program: it is ready when all that it needs is.
    Target,
}

/// How a unit says that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It sends `READY=1` to `$NOTIFY_SOCKET` (`sd_notify(3)`).
    Notify,
    /// It ends with status 0 (one-shots).
    Exit,
    /// Its program has been started, and its `sockets` listen: who connects now is served.
    Socket,
    /// Its program has been started: all that can be known of a program that tells nothing.
    Exec,
}

/// Where a unit's standard output and error go. Standard input is always empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stdio {
    /// Both to the log.
    #[default]
    Log,
    /// Output to the console, errors to the log.
    Console,
}

/// How much a unit may write to the log; what is more is dropped, counted and told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Bytes per second.
    pub rate: Bytes,
    /// Bytes at once, after it has been quiet.
    pub burst: Bytes,
}

impl Default for Log {
    fn default() -> Self {
        Self { rate: Bytes::from_kib(256), burst: Bytes::from_kib(1024) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: UnitName,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "type")]
    unit_type: UnitType,
    #[serde(default)]
    base: bool,
    exec: Option<Spanned<ImagePath>>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    user: Option<UserName>,
    #[serde(default)]
    needs: Vec<Spanned<UnitName>>,
    #[serde(default)]
    after: Vec<Spanned<UnitName>>,
    #[serde(default)]
    modules: Vec<Spanned<ModuleName>>,
    #[serde(default)]
    router_modules: Vec<Spanned<ModuleName>>,
    readiness: Option<Spanned<Readiness>>,
    #[serde(default)]
    stdio: Stdio,
    #[serde(default)]
    start: StartLimits,
    #[serde(default)]
    restart: Restart,
    #[serde(default)]
    stop: Stop,
    reload: Option<Signal>,
    watchdog: Option<TimeSpan>,
    #[serde(default)]
    state: bool,
    #[serde(default)]
    runtime: bool,
    #[serde(default)]
    ports: BTreeMap<UnitName, Port>,
    #[serde(default)]
    sockets: BTreeMap<UnitName, UnitSocket>,
    #[serde(default)]
    talks: BTreeMap<UnitName, Vec<String>>,
    #[serde(default)]
    optional: Vec<UnitName>,
    #[serde(default)]
    reaches: BTreeMap<UnitName, Vec<UnitName>>,
    #[serde(default)]
    config: Vec<SettingsSection>,
    #[serde(default)]
    operators: bool,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    sandbox: Sandbox,
}

/// Where a unit file names something that may not be there.
#[derive(Debug, Clone)]
pub(crate) struct ReferenceSpans {
    /// The units it needs, then those it comes after.
    pub units: Vec<Range<usize>>,
    /// Its kernel modules, then those of a router.
    pub modules: Vec<Range<usize>>,
}

impl Unit {
    /// Parses and checks `text`, the content of `file`. Beside the unit come the places in `text`
    /// of what it names.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub(crate) fn parse(file: &str, text: &str) -> Result<(Self, ReferenceSpans), Box<FileError>> {
        let raw: Raw = parse(file, text)?;
        let places = ReferenceSpans {
            units: raw.needs.iter().chain(&raw.after).map(Spanned::span).collect(),
            modules: raw.modules.iter().chain(&raw.router_modules).map(Spanned::span).collect(),
        };
        let plain =
            |names: Vec<Spanned<UnitName>>| names.into_iter().map(Spanned::into_inner).collect();
        let error = |at, message: &str, hint: &str| FileError::new(file, text, at, message, hint);
        if raw.unit_type == UnitType::Target {
            check::check_target(text).map_err(|wrong| wrong.to_file_error(file, text))?;
        } else if raw.exec.is_none() {
            return Err(error(0..0, "the unit has no program", "add `exec = \"/…\"`"));
        }
        let user = match raw.user {
            Some(user) => user,
            None if raw.unit_type == UnitType::Target => UserName::ROOT,
            None => UserName::try_from(raw.name.to_string()).map_err(|unknown| {
                error(
                    0..0,
                    &unknown.to_string(),
                    "add `user = \"extra-1\"`, or another that is free",
                )
            })?,
        };
        let readiness = match (raw.unit_type, raw.readiness) {
            (UnitType::Daemon, None) => Readiness::Notify,
            (_, None) => Readiness::Exit,
            (UnitType::Daemon, Some(r)) if *r.get_ref() == Readiness::Exit => {
                return Err(error(
                    r.span(),
                    "a daemon does not end to be ready",
                    "use `notify` or `exec`, or `type = \"one-shot\"`",
                ));
            }
            (UnitType::OneShot | UnitType::Target, Some(r)) if *r.get_ref() != Readiness::Exit => {
                return Err(error(
                    r.span(),
                    "only a daemon can be ready before it ends",
                    "remove `readiness`, or use `type = \"daemon\"`",
                ));
            }
            (_, Some(r)) => r.into_inner(),
        };
        let unit = Self {
            name: raw.name,
            description: raw.description,
            unit_type: raw.unit_type,
            base: raw.base,
            exec: raw.exec.map(Spanned::into_inner),
            args: raw.args,
            env: raw.env,
            user,
            needs: plain(raw.needs),
            after: plain(raw.after),
            modules: raw.modules.into_iter().map(Spanned::into_inner).collect(),
            router_modules: raw.router_modules.into_iter().map(Spanned::into_inner).collect(),
            readiness,
            stdio: raw.stdio,
            start: raw.start,
            restart: raw.restart,
            stop: raw.stop,
            reload: raw.reload,
            watchdog: raw.watchdog,
            state: raw.state,
            runtime: raw.runtime,
            ports: raw.ports,
            sockets: raw.sockets,
            talks: raw.talks,
            optional: raw.optional,
            reaches: raw.reaches,
            config: raw.config,
            operators: raw.operators,
            log: raw.log,
            limits: raw.limits,
            sandbox: raw.sandbox,
            filters: vec![],
            boards: None,
        };
        check::check(&unit, text).map_err(|wrong| wrong.to_file_error(file, text))?;
        Ok((unit, places))
    }

    /// When it is started again after it ended by itself.
    pub fn restart_policy(&self) -> RestartPolicy {
        self.restart.policy.unwrap_or(match self.unit_type {
            UnitType::Daemon => RestartPolicy::Always,
            UnitType::OneShot | UnitType::Target => RestartPolicy::OnFailure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELLO: &str = "name = \"hello\"\nexec = \"/usr/lib/octet/hello\"\nuser = \"extra-1\"\n";

    #[test]
    fn defaults() {
        let (unit, _) = Unit::parse("unit.toml", HELLO).unwrap();
        assert_eq!(unit.readiness, Readiness::Notify);
        assert_eq!(unit.restart_policy(), RestartPolicy::Always);
        assert_eq!(unit.user.user().uid, 901);
    }

    #[test]
    fn contradictions_are_placed() {
        for (line, wrong) in [
            (5, "type = \"one-shot\"\nreadiness = \"notify\"\n"),
            (4, "readiness = \"exit\"\n"),
            (4, "needs = [\"No\"]\n"),
            (4, "restart.delay = \"5\"\n"),
            (4, "stop.signal = \"USR1\"\n"),
            (4, "colour = 1\n"),
        ] {
            let error = Unit::parse("unit.toml", &format!("{HELLO}{wrong}")).unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
        let unknown_user = HELLO.replace("extra-1", "root2");
        assert_eq!(Unit::parse("unit.toml", &unknown_user).unwrap_err().line, 3);
        let text = "name = \"all\"\ntype = \"target\"\nexec = \"/bin/x\"\n";
        assert_eq!(Unit::parse("unit.toml", text).unwrap_err().line, 3);
    }

    #[test]
    fn json_says_the_same() {
        let (unit, _) = Unit::parse("unit.toml", &format!("{HELLO}needs = [\"a\"]\n")).unwrap();
        let json = serde_json::to_string(&unit).unwrap();
        let back: Unit = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{unit:?}"), format!("{back:?}"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = Unit::parse("unit.toml", &text);
        }

        #[test]
        fn never_panics_near_the_truth(at in 0usize..70, garbage in "\\PC{0,3}") {
            let at = at.min(HELLO.len());
            let text = format!("{}{garbage}{}", &HELLO[..at], &HELLO[at..]);
            let _ = Unit::parse("unit.toml", &text);
        }
    }
}
