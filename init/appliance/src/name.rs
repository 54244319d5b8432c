//! Names, checked once while parsing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name that breaks the rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {kind} name: {rule}")]
pub struct InvalidName {
    name: String,
    kind: &'static str,
    rule: &'static str,
}

macro_rules! name {
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
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(&name) {
                    Ok(Self(name))
                } else {
                    Err(InvalidName { name, kind: $kind, rule: $rule })
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::try_from(name.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A unit: lower-case letters, digits and `-`, 1 to 32 characters, a letter first. It is also
    /// the name of the unit's folder, socket and user.
    UnitName, "unit", "use 1 to 32 of a-z, 0-9 and -, a letter first",
    |name| (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

name! {
    /// The appliance's own name; a DNS label (RFC 1035, section 2.3.1), because boards are named
    /// under it.
    ApplianceName, "appliance", "use 1 to 63 of a-z, 0-9 and -, a letter first, no - at the end",
    |name| (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

name! {
    /// An operator's name in the log.
    OperatorName, "operator", "use 1 to 32 of a-z, 0-9, - and ., a letter first",
    |name| (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
}

name! {
    /// A role of boards, as policies name it.
    RoleName, "role", "use 1 to 32 of a-z, 0-9 and -, a letter first",
    |name| (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

name! {
    /// The name of a node of another box in this configuration. Names of boards and the router are
    /// reserved.
    NeighbourName, "neighbour", "use 1 to 32 of a-z, 0-9 and -, a letter first, but no name of a board or the router",
    |name| (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !matches!(name, "router" | "boards")
        && !name.starts_with("board-")
}

name! {
    /// The name of an origin, which is a host name of the box.
    OriginName, "origin", "use 1 to 32 of a-z, 0-9 and -, a letter first and no hyphen last, but no name of a board or the router",
    |name| (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.ends_with('-')
        && !matches!(name, "router" | "boards")
        && !name.starts_with("board-")
}

name! {
    PackageName, "package", "use letters, digits and + . _ -, a letter or digit first",
    |name| (1..=128).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
}

name! {
    /// A kernel module, without path and ending; `-` and `_` are the same in a module's name.
    ModuleName, "module", "use letters, digits, _ and -, without path or .ko",
    |name| (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl ModuleName {
    /// The kernel's spelling: `_` for `-`.
    pub fn canonical(&self) -> String {
        self.0.replace('-', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold() {
        for good in ["a", "console", "my-unit-2"] {
            assert!(good.parse::<UnitName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "2a", "A", "a/b", "a.b", "ä", &"a".repeat(33)] {
            assert!(bad.parse::<UnitName>().is_err(), "{bad}");
        }
        assert!("octet-".parse::<ApplianceName>().is_err());
        assert!("hill".parse::<NeighbourName>().is_ok());
        for bad in ["router", "boards", "board-3", "board-", "5", "a.octet"] {
            assert!(bad.parse::<NeighbourName>().is_err(), "{bad}");
        }
        assert!("../x".parse::<PackageName>().is_err());
        assert_eq!("nft-ct".parse::<ModuleName>().unwrap().canonical(), "nft_ct");
    }
}
