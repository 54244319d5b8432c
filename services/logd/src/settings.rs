//! The settings of logd: its command line, and the folder that PID 1 has assigned.

use std::path::PathBuf;
use std::time::Duration;

use crate::limit::LogRate;
use crate::store::StoreLimits;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the store; without one the log is in memory only.
    pub state: Option<PathBuf>,
    pub limits: StoreLimits,
    /// The default rate limit of a unit.
    pub rate: LogRate,
    /// The size of the tail in memory, in bytes.
    pub memory: usize,
    /// The pause before a failed disk is tried again.
    pub retry: Duration,
}

/// Why a command line is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogSettingsError {
    #[error("there is no option `{0}`; the options are {OPTIONS}")]
    Unknown(String),
    #[error("`{0}` needs a value")]
    NoValue(String),
    #[error("`{0}` needs a whole number, not `{1}`")]
    NoNumber(String, String),
}

const OPTIONS: &str = "--total, --segment, --memory, --rate, --burst (bytes), --lines, \
    --line-burst (counts), --retry (milliseconds)";

impl Default for Settings {
    fn default() -> Self {
        Self {
            state: None,
            limits: StoreLimits::default(),
            rate: LogRate::default(),
            memory: 4 << 20,
            retry: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Parses `args` (without the program's name); the store is in `state`.
    ///
    /// # Errors
    /// An option is unknown, or its value is not a number.
    pub fn parse(
        mut args: impl Iterator<Item = String>,
        state: Option<PathBuf>,
    ) -> Result<Self, LogSettingsError> {
        let mut settings = Self { state, ..Self::default() };
        while let Some(option) = args.next() {
            let value = args.next().ok_or_else(|| LogSettingsError::NoValue(option.clone()))?;
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| LogSettingsError::NoNumber(option.clone(), value.clone()))
            };
            match option.as_str() {
                "--total" => settings.limits.total = number()?,
                "--segment" => settings.limits.segment = number()?,
                "--memory" => settings.memory = usize::try_from(number()?).unwrap_or(usize::MAX),
                "--rate" => settings.rate.bytes = number()?,
                "--burst" => settings.rate.byte_burst = number()?,
                "--lines" => settings.rate.lines = number()?,
                "--line-burst" => settings.rate.line_burst = number()?,
                "--retry" => settings.retry = Duration::from_millis(number()?),
                _ => return Err(LogSettingsError::Unknown(option)),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Settings, LogSettingsError> {
        Settings::parse(line.split_whitespace().map(str::to_owned), Some("/x".into()))
    }

    #[test]
    fn options_and_mistakes() {
        let settings = parse("--memory 5 --rate 7").unwrap();
        assert_eq!((settings.memory, settings.rate.bytes), (5, 7));
        assert_eq!(settings.state, Some("/x".into()));
        assert_eq!(parse("--rate").unwrap_err(), LogSettingsError::NoValue("--rate".into()));
        assert!(matches!(parse("--rate x"), Err(LogSettingsError::NoNumber(..))));
        assert!(matches!(parse("--colour x"), Err(LogSettingsError::Unknown(_))));
    }
}
