//! The fingerprint of a certificate: the SHA-256 digest of all of its bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A fingerprint: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fingerprint: write `sha256:` and 64 hexadecimal digits")]
pub struct InvalidFingerprint(String);

impl Fingerprint {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;

    fn try_from(text: String) -> Result<Self, InvalidFingerprint> {
        let digits = text.strip_prefix("sha256:").filter(|digits| {
            digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        });
        let mut bytes = [0; 32];
        let read = digits.is_some_and(|digits| {
            (0..32).all(|at| {
                let byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16);
                byte.map(|byte| bytes[at] = byte).is_ok()
            })
        });
        if read { Ok(Self(bytes)) } else { Err(InvalidFingerprint(text)) }
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prints_as_it_parses(bytes: [u8; 32], text in "(sha256:)?[0-9a-fA-F:\\PC]{0,70}") {
            let fingerprint = Fingerprint::new(bytes);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            prop_assert_eq!(fingerprint.to_string().to_uppercase().replace("SHA", "sha").parse(), Ok(fingerprint));
            let _ = text.parse::<Fingerprint>();
            prop_assert!(fingerprint.to_string()[..70].parse::<Fingerprint>().is_err());
        }
    }
}
