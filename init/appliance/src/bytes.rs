//! Sizes as people write them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A size in bytes: `"512"`, `"64K"`, `"16M"`, `"1G"` (powers of 1024). At most 1 TiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(u64);

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write a whole number and K, M or G, at most 1024G, such as \"64M\"")]
pub struct InvalidBytes(String);

const MAX: u64 = 1 << 40;

const UNITS: [(&str, u64); 4] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1)];

impl Bytes {
    pub(crate) const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<String> for Bytes {
    type Error = InvalidBytes;

    fn try_from(text: String) -> Result<Self, InvalidBytes> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, factor)| number.parse::<u64>().ok()?.checked_mul(*factor))
            .filter(|bytes| *bytes <= MAX)
            .map(Self)
            .ok_or(InvalidBytes(text))
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> String {
        bytes.to_string()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (name, factor) = UNITS.iter().find(whole).unwrap_or(&("", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_unclear() {
        for bad in ["", "K", "-1", "1.5M", "1T", "2000G", "1 M", "1MB", "99999999999999999999"] {
            assert!(Bytes::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert_eq!(Bytes::try_from("64M".to_owned()).unwrap().get(), 64 << 20);
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(bytes in 0u64..=MAX) {
            prop_assert_eq!(Bytes::try_from(Bytes(bytes).to_string()), Ok(Bytes(bytes)));
        }
    }
}
