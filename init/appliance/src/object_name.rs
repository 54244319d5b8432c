//! What an object of `cache` is called: its hash, or a name that a node publishes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::public_key::PublicKey;

/// The digits of a hash.
const HASH_DIGITS: usize = 64;

/// The maximum length of a path, in bytes.
pub const LONGEST_NAME_PATH: usize = 200;

/// The BLAKE3 hash of an object, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectHash(String);

/// Text that is not the hash of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hash: write the 64 digits of 0 to 9 and a to f that `cache add` prints")]
pub struct InvalidObjectHash(String);

impl ObjectHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectHash {
    type Error = InvalidObjectHash;

    fn try_from(text: String) -> Result<Self, InvalidObjectHash> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == HASH_DIGITS && text.bytes().all(is_digit) {
            true => Ok(Self(text)),
            false => Err(InvalidObjectHash(text)),
        }
    }
}

impl From<ObjectHash> for String {
    fn from(hash: ObjectHash) -> Self {
        hash.0
    }
}

/// A path below a node's key: parts of letters, digits, `.`, `_` and `-`, with `/` between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamePath(String);

/// The text is not a valid path of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a path of a name: write parts of letters, digits, `.`, `_` and `-`, with `/` between them, {LONGEST_NAME_PATH} bytes at most, such as `site/index.html`"
)]
pub struct InvalidNamePath(String);

impl NamePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NamePath {
    type Err = InvalidNamePath;

    fn from_str(text: &str) -> Result<Self, InvalidNamePath> {
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_part = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_one)
        };
        match text.len() <= LONGEST_NAME_PATH && text.split('/').all(is_part) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidNamePath(text.chars().take(LONGEST_NAME_PATH).collect())),
        }
    }
}

impl fmt::Display for NamePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name of an object: the key of the node that publishes it, `/`, and a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    pub node: PublicKey,
    pub path: NamePath,
}

/// Text that is not the name of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObjectName {
    #[error(
        "`{0}` is not a key of a node: write the key, which begins with did:key:, `/` and the path"
    )]
    Node(String),
    #[error(transparent)]
    Path(#[from] InvalidNamePath),
}

impl TryFrom<String> for ObjectName {
    type Error = InvalidObjectName;

    fn try_from(text: String) -> Result<Self, InvalidObjectName> {
        let (node, path) = text.split_once('/').unwrap_or((&text, ""));
        let key = PublicKey::try_from(node.to_owned());
        let node = key.map_err(|_| InvalidObjectName::Node(node.to_owned()))?;
        Ok(Self { node, path: path.parse()? })
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let long = "a".repeat(LONGEST_NAME_PATH);
        for good in ["a", "site/index.html", "A-b_c.d/1", &long] {
            assert_eq!(good.parse::<NamePath>().unwrap().as_str(), good);
        }
        let longer = format!("{long}a");
        for bad in ["", "/", "a/", "/a", "a//b", ".", "a/../b", "ä", "a b", "a?b", &longer] {
            assert!(bad.parse::<NamePath>().is_err(), "{bad}");
        }
    }
}
