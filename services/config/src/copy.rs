//! A stored configuration: the operator's text, and the validated settings.
//!
//! One file: a line `octet-config-1 SHA256`, then JSON, whose digest is in that line. The settings
//! stand beside the text, so that starting a box needs no TOML parser.

use octet_node::control::By;
use octet_node::digest::sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The first word of the file: the version of the format.
const VERSION: &str = "octet-config-1";

/// The maximum size of a text, in bytes.
pub const MAX_TEXT: u64 = 128 << 10;

/// The maximum size of a copy in bytes: JSON may escape each byte of the text as six, and the
/// settings are hardly larger.
pub const MAX_COPY: u64 = 16 * MAX_TEXT;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredCopy {
    /// The sequence number, which increases with each copy.
    pub sequence: u64,
    /// The time of acceptance in seconds since 1970, by the box's clock; informational.
    pub taken: u64,
    pub by: By,
    /// The operator's signed command (`octet_node::command`) as text; `None` if it arrived over a
    /// local channel that needs no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// The copy whose text it repeats; 0 is the image's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<u64>,
    pub text: String,
    /// The settings, by section.
    pub settings: Value,
}

/// Why bytes are not a valid copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCopy {
    /// The format is unknown.
    #[error("it is no copy of a configuration that this version knows")]
    Unknown,
    /// The digest does not match.
    #[error("it is damaged: its content is not what its first line says")]
    Digest,
}

impl StoredCopy {
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::json!(self).to_string();
        format!("{VERSION} {}\n{json}", sha256(json.as_bytes())).into_bytes()
    }

    /// Decodes a copy.
    ///
    /// # Errors
    /// The bytes are malformed or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCopy> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(InvalidCopy::Unknown)?;
        let (line, json) = (&bytes[..end], &bytes[end + 1..]);
        let line = std::str::from_utf8(line).map_err(|_| InvalidCopy::Unknown)?;
        let said = line.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(' '));
        if said.ok_or(InvalidCopy::Unknown)? != sha256(json) {
            return Err(InvalidCopy::Digest);
        }
        serde_json::from_slice(json).map_err(|_| InvalidCopy::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn copy() -> StoredCopy {
        StoredCopy {
            sequence: 3,
            taken: 1_800_000_000,
            by: By::Port,
            signed: None,
            again: Some(1),
            text: "[appliance]\nname = \"ö\"\n".into(),
            settings: json!({ "appliance": { "name": "ö" } }),
        }
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let bytes = copy().to_bytes();
        assert_eq!(StoredCopy::from_bytes(&bytes), Ok(copy()));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(StoredCopy::from_bytes(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(StoredCopy::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = StoredCopy::from_bytes(&bytes);
        }

        #[test]
        fn comes_back(sequence: u64, taken: u64, text in "\\PC{0,40}", again: Option<u64>) {
            let copy = StoredCopy { sequence, taken, text, again, ..copy() };
            prop_assert_eq!(StoredCopy::from_bytes(&copy.to_bytes()), Ok(copy));
        }

        /// A valid digest does not make the content valid.
        #[test]
        fn never_panics_behind_a_digest(json in "\\PC{0,60}") {
            let bytes = format!("{VERSION} {}\n{json}", sha256(json.as_bytes()));
            let _ = StoredCopy::from_bytes(bytes.as_bytes());
        }
    }
}
