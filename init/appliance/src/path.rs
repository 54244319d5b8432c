//! Paths inside the image.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A path that could leave the image, or that has more than one spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a path inside the image: write it absolute, without `.`, `..` and double `/`"
)]
pub struct InvalidPath(String);

/// An absolute, normalised path inside the image, such as `/usr/lib/octet/console`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImagePath(String);

impl ImagePath {
    /// The path with its leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ImagePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        let normal = path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
        if normal && path.len() < 4096 && !path.bytes().any(|b| b.is_ascii_control()) {
            Ok(Self(path))
        } else {
            Err(InvalidPath(path))
        }
    }
}

impl From<ImagePath> for String {
    fn from(path: ImagePath) -> String {
        path.0
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path and everything under it; `/` stands for the whole tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

impl TreePath {
    pub fn all() -> Self {
        Self("/".into())
    }

    /// Whether it is `/`.
    pub fn is_all(&self) -> bool {
        self.0 == "/"
    }

    /// The path with its leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TreePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        if path == "/" {
            Ok(Self::all())
        } else {
            ImagePath::try_from(path).map(|path| Self(path.0))
        }
    }
}

impl From<TreePath> for String {
    fn from(path: TreePath) -> String {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling() {
        for good in ["/a", "/usr/lib/octet/console", "/a/..b"] {
            assert!(ImagePath::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "/", "a", "/a/", "//a", "/a/../b", "/./a", "/a\nb"] {
            assert!(ImagePath::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
