//! `[trust]` and `[health]`: which updates a box accepts, and when it finds one good.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::duration::TimeSpan;
use crate::name::UnitName;

/// `[trust]`: whose updates this box accepts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// Public keys of minisign. If empty, no update is accepted.
    pub update_keys: Vec<UpdateKey>,
    /// Keys whose updates are rejected, even if they are listed above.
    pub revoked: Vec<UpdateKey>,
}

/// A public key of minisign, as `minisign` prints it: base64 of `Ed`, the key's number and the key,
/// 56 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UpdateKey(String);

/// Text that is not a public key of minisign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a public key of minisign: use the second line of the .pub file, which begins with RW"
)]
pub struct InvalidUpdateKey(String);

impl UpdateKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UpdateKey {
    type Error = InvalidUpdateKey;

    fn try_from(text: String) -> Result<Self, InvalidUpdateKey> {
        // 42 bytes are 56 characters of base64 without padding; "Ed" are the first 16 bits.
        let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        let third = |b: &u8| (b'Q'..=b'T').contains(b);
        let is_key = text.len() == 56
            && text.starts_with("RW")
            && text.as_bytes().get(2).is_some_and(third)
            && text.bytes().all(is_base64);
        if is_key { Ok(Self(text)) } else { Err(InvalidUpdateKey(text)) }
    }
}

impl From<UpdateKey> for String {
    fn from(key: UpdateKey) -> String {
        key.0
    }
}

/// `[health]`: when a new slot is good. Only a build can use `units`: they are those of the image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSection {
    /// Units that must be ready, or have exited successfully, besides the base units.
    #[serde(skip_serializing)]
    pub units: Vec<Spanned<UnitName>>,
    /// How long a new slot may take for that, from its start on, 10 s to 24 h; then the machine
    /// restarts, and after the last try it boots the previous slot.
    pub within: TrialTime,
}

/// A duration from 10 s to 24 h, by default five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TimeSpan", into = "TimeSpan")]
pub struct TrialTime(TimeSpan);

impl TrialTime {
    /// The duration in seconds, rounded up.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0.duration().as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

impl Default for TrialTime {
    fn default() -> Self {
        Self(TimeSpan::from_secs(300))
    }
}

impl TryFrom<TimeSpan> for TrialTime {
    type Error = &'static str;

    fn try_from(span: TimeSpan) -> Result<Self, &'static str> {
        match span.duration().as_secs() {
            0..10 => Err("ten seconds are the least: a start takes longer"),
            _ => Ok(Self(span)),
        }
    }
}

impl From<TrialTime> for TimeSpan {
    fn from(trial: TrialTime) -> TimeSpan {
        trial.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The key of minisign's own releases, from its manual.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_key_is_what_minisign_prints() {
        assert_eq!(UpdateKey::try_from(KEY.to_owned()).unwrap().as_str(), KEY);
        for bad in [
            "",
            "RW",
            &KEY[1..],
            &KEY.replace('Q', "U"),
            &KEY.replace('+', "-"),
            &format!("{KEY}="),
        ]
        .into_iter()
        .filter(|text| *text != KEY)
        {
            assert!(UpdateKey::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}", near in "RW[A-Za-z0-9+/=é]{52,55}") {
            let _ = UpdateKey::try_from(text);
            let _ = UpdateKey::try_from(near);
        }
    }
}
