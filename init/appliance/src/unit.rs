//! `unit.toml`: how a service runs.
//!
//! A person writes TOML; the builder checks it and hands PID 1 the same unit as JSON, so that
//! nothing is parsed twice and PID 1 needs no TOML.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::document::parse;
use crate::duration::Span;
use crate::file_error::FileError;
use crate::name::{ModuleName, UnitName};
use crate::path::ImagePath;
use crate::user::UserName;

/// One unit, as PID 1 runs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// How it says that it is ready.
    pub readiness: Readiness,
    /// Where its output goes.
    pub stdio: Stdio,
    /// Bounds on starting.
    pub start: Start,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// How it is stopped.
    pub stop: Stop,
}

/// What kind of unit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It sends `READY=1` to `$NOTIFY_SOCKET` (`sd_notify(3)`).
    Notify,
    /// It ends with status 0 (one-shots).
    Exit,
    /// Its program has been started: all that can be known of a program that tells nothing.
    Exec,
}

/// Where a unit's standard output and error go. Standard input is always empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdio {
    /// Both to the log.
    #[default]
    Log,
    /// Output to the console, errors to the log.
    Console,
}

/// Bounds on starting.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Start {
    /// From its start until it must be ready; then it counts as failed and is started again.
    pub timeout: Span,
}

impl Default for Start {
    fn default() -> Self {
        Self { timeout: Span::from_secs(10) }
    }
}

/// When a unit that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// However it ended.
    Always,
    /// Unless it ended with status 0.
    OnFailure,
    /// Never.
    Never,
}

/// What happens when a unit ends by itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// When it is started again; a daemon's default is always, a one-shot's on-failure.
    pub policy: Option<RestartPolicy>,
    /// The pause before the first restart; each further one doubles it.
    pub delay: Span,
    /// The longest pause. A unit that was ready for this long starts anew with `delay`.
    pub max_delay: Span,
    /// How many restarts are allowed within `window`; one more and the unit is failed.
    pub budget: u32,
    /// See `budget`.
    pub window: Span,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: None,
            delay: Span::from_millis(100),
            max_delay: Span::from_secs(10),
            budget: 5,
            window: Span::from_secs(30),
        }
    }
}

/// How a unit is stopped: a signal, then SIGKILL.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// The signal that asks it to end.
    pub signal: Signal,
    /// How long it has before SIGKILL.
    pub timeout: Span,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::Term, timeout: Span::from_secs(5) }
    }
}

/// Signals that may ask a unit to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// SIGTERM
    Term,
    /// SIGINT
    Int,
    /// SIGQUIT
    Quit,
    /// SIGHUP
    Hup,
    /// SIGKILL
    Kill,
}

impl Signal {
    /// The signal that is called `name`, without `SIG`.
    pub fn named(name: &str) -> Option<Self> {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};

        let name: StrDeserializer<Error> = name.into_deserializer();
        Self::deserialize(name).ok()
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
    readiness: Option<Spanned<Readiness>>,
    #[serde(default)]
    stdio: Stdio,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    restart: Restart,
    #[serde(default)]
    stop: Stop,
}

/// Where a unit file names something that may not be there.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The units it needs, then those it comes after.
    pub units: Vec<Range<usize>>,
    /// Its kernel modules.
    pub modules: Vec<Range<usize>>,
}

impl Unit {
    /// Parses and checks `text`, the content of `file`. Beside the unit come the places in `text`
    /// of what it names.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub(crate) fn parse(file: &str, text: &str) -> Result<(Self, Places), Box<FileError>> {
        let raw: Raw = parse(file, text)?;
        let places = Places {
            units: raw.needs.iter().chain(&raw.after).map(Spanned::span).collect(),
            modules: raw.modules.iter().map(Spanned::span).collect(),
        };
        let plain =
            |names: Vec<Spanned<UnitName>>| names.into_iter().map(Spanned::into_inner).collect();
        let error = |at, message: &str, hint: &str| FileError::new(file, text, at, message, hint);
        match (raw.unit_type, &raw.exec) {
            (UnitType::Target, Some(exec)) => {
                return Err(error(exec.span(), "a target has no program", "remove `exec`"));
            }
            (UnitType::Daemon | UnitType::OneShot, None) => {
                return Err(error(0..0, "the unit has no program", "add `exec = \"/…\"`"));
            }
            _ => {}
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
            readiness,
            stdio: raw.stdio,
            start: raw.start,
            restart: raw.restart,
            stop: raw.stop,
        };
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
