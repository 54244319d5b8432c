//! Texts of a manifest, checked once: they become names of files and lines of an entry.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::SlotFile;
use crate::{MANIFEST, SLOTS};

/// A text that breaks the rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: {rule}")]
pub struct InvalidText {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

macro_rules! text {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidText { text, kind: $kind, rule: $rule })
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> String {
                text.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// The name of a slot: of its folder, and part of the names of its entries.
    SlotName, "name of a slot", "use 1 to 48 of a-z, 0-9, . and -, a digit or a letter first and last",
    |text| text.len() <= 48 && is_dotted(text)
}

text! {
    Version, "version", "use 1 to 32 of a-z, 0-9, . and -, a digit or a letter first and last",
    |text| text.len() <= 32 && is_dotted(text)
}

text! {
    /// The kind of machine that an image is for, as `cargo image build --target` names it.
    TargetName, "target", "use 1 to 32 of a-z, 0-9, _ and -",
    |text| (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

text! {
    /// The CPU architecture as UEFI names it (UEFI 2.10, 3.5.1.1), in lower case.
    Architecture, "architecture", "use 1 to 16 of a-z and 0-9",
    |text| (1..=16).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

text! {
    /// The kernel's command line, without the slot's name.
    CommandLine, "kernel command line",
    "use at most 1024 printable ASCII characters, one space between two words, and no word that begins with octet.slot= or octet.trial=",
    |text| text.len() <= 1024
        && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        && (text.is_empty() || text.split(' ').all(|word| {
            !word.is_empty() && !word.starts_with("octet.slot=") && !word.starts_with("octet.trial=")
        }))
}

impl SlotName {
    /// Its folder on the EFI system partition, without a leading `/`.
    pub fn folder(&self) -> String {
        format!("{SLOTS}/{self}")
    }

    /// The path of its file `kind` there.
    pub fn file(&self, kind: SlotFile) -> String {
        format!("{SLOTS}/{self}/{}", kind.name())
    }

    pub fn manifest(&self) -> String {
        format!("{SLOTS}/{self}/{MANIFEST}")
    }
}

/// Letters and digits, with dots and hyphens between them: never `.`, `..` or a path.
fn is_dotted(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|b| plain(b) || b".-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_no_path() {
        for good in ["0.1.0-1a2b3c4d", "1", "a..b"] {
            assert!(good.parse::<SlotName>().is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "../x", "a/b", "a\\b", "1+3", "-1", "1.", "A", "ü", &"1".repeat(49)]
        {
            assert!(bad.parse::<SlotName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_line_is_one_line_and_names_no_slot() {
        for good in ["", "quiet", "console=ttyS0 quiet panic=3 rdinit=/init"] {
            assert!(good.parse::<CommandLine>().is_ok(), "{good}");
        }
        for bad in ["a\nb", " a", "a ", "a  b", "octet.slot=1", "a octet.trial=1", "ü", "a\tb"] {
            assert!(bad.parse::<CommandLine>().is_err(), "{bad}");
        }
    }
}
