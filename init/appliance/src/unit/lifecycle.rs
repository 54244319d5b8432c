//! How a unit starts, is started again, and stops.

use serde::{Deserialize, Serialize};

use crate::duration::TimeSpan;

/// Bounds on starting.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StartLimits {
    /// From its start until it must be ready; then it counts as failed and is started again.
    pub timeout: TimeSpan,
}

impl Default for StartLimits {
    fn default() -> Self {
        // Far more than a board needs whose flash is slow and whose other units all start at the same time.
        Self { timeout: TimeSpan::from_secs(60) }
    }
}

/// When a unit that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// When it is started again; a daemon's default is always, a one-shot's on-failure.
    pub policy: Option<RestartPolicy>,
    /// The pause before the first restart; each further one doubles it.
    pub delay: TimeSpan,
    /// The longest pause. A unit that was ready for this long starts anew with `delay`.
    pub max_delay: TimeSpan,
    /// How many restarts are allowed within `window`; one more and the unit is failed.
    pub budget: u32,
    /// See `budget`.
    pub window: TimeSpan,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: None,
            delay: TimeSpan::from_millis(100),
            max_delay: TimeSpan::from_secs(10),
            budget: 5,
            window: TimeSpan::from_secs(30),
        }
    }
}

/// How a unit is stopped: a signal, then SIGKILL.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// The signal that asks it to end.
    pub signal: Signal,
    /// How long it has before SIGKILL.
    pub timeout: TimeSpan,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::Term, timeout: TimeSpan::from_secs(5) }
    }
}

/// Signals that may ask a unit to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    pub fn from_name(name: &str) -> Option<Self> {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};

        let name: StrDeserializer<Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }
}
