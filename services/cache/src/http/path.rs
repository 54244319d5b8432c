//! What the path of a request means. Pure.

use std::borrow::Cow;
use std::str::from_utf8;

/// A path of the gateway. Its parts are as they were sent, with percent-encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayPath<'a> {
    /// `/b`, where objects are put.
    Upload,
    /// `/b/HASH`.
    Object { hash: &'a str },
    /// `/b/HASH/NAME`: only the extension of the name counts; it need not be UTF-8.
    NamedObject { hash: &'a str, name: &'a str },
    /// `/d/HASH/PATH`: a file of a folder, or the folder itself where the path is empty or ends with `/`.
    Folder { hash: &'a str, path: &'a str },
    /// `/d/KEY/NAME/PATH`: the same of the folder that a name points to. The name is one part, because its end would not be
    /// known otherwise.
    NamedFolder { key: &'a str, name: &'a str, path: &'a str },
    /// `/n/KEY/PATH`.
    Name { key: &'a str, path: &'a str },
    /// Nothing is there.
    Unknown,
}

impl<'a> GatewayPath<'a> {
    pub fn parse(path: &'a str) -> Self {
        if path == "/b" {
            return Self::Upload;
        }
        if let Some(rest) = path.strip_prefix("/b/") {
            return match rest.split_once('/') {
                None if !rest.is_empty() => Self::Object { hash: rest },
                Some((hash, name)) if !name.is_empty() => Self::NamedObject { hash, name },
                _ => Self::Unknown,
            };
        }
        if let Some(rest) = path.strip_prefix("/d/") {
            let Some((first, path)) = rest.split_once('/').filter(|(first, _)| !first.is_empty())
            else {
                return Self::Unknown;
            };
            // No hash begins like this, and each node's key does.
            if !decode(first).is_some_and(|it| it.starts_with("did:")) {
                return Self::Folder { hash: first, path };
            }
            return match path.split_once('/') {
                Some((name, path)) if !name.is_empty() => {
                    Self::NamedFolder { key: first, name, path }
                }
                _ => Self::Unknown,
            };
        }
        let parts = path.strip_prefix("/n/").and_then(|rest| rest.split_once('/'));
        match parts {
            Some((key, path)) if !path.is_empty() => Self::Name { key, path },
            _ => Self::Unknown,
        }
    }
}

/// The text of a part of a path; `None` if it is not UTF-8. A `%` that no two digits follow stands for itself.
pub fn decode(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let (mut rest, mut bytes) = (part.as_bytes(), vec![]);
    while let [first, after @ ..] = rest {
        let encoded = after.get(..2).filter(|_| *first == b'%').and_then(byte);
        bytes.push(encoded.unwrap_or(*first));
        rest = if encoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The byte of two hexadecimal digits.
fn byte(digits: &[u8]) -> Option<u8> {
    let digits = from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths() {
        assert_eq!(
            GatewayPath::parse("/b/12/a/b"),
            GatewayPath::NamedObject { hash: "12", name: "a/b" }
        );
        assert_eq!(GatewayPath::parse("/b/%41"), GatewayPath::Object { hash: "%41" });
        assert_eq!(GatewayPath::parse("/d/12/"), GatewayPath::Folder { hash: "12", path: "" });
        assert_eq!(
            GatewayPath::parse("/d/12/a/b"),
            GatewayPath::Folder { hash: "12", path: "a/b" }
        );
        for key in ["did:key:k", "did%3Akey%3ak"] {
            for path in ["", "b", "b/c/"] {
                assert_eq!(
                    GatewayPath::parse(&format!("/d/{key}/a/{path}")),
                    GatewayPath::NamedFolder { key, name: "a", path }
                );
            }
        }
        assert_eq!(GatewayPath::parse("/n/k/a/b"), GatewayPath::Name { key: "k", path: "a/b" });
        for path in [
            "",
            "*",
            "b",
            "/",
            "/b/",
            "/b//",
            "/b/12/",
            "/d",
            "/d/",
            "/d/12",
            "/d//a",
            "/d/did:key:k",
            "/d/did:key:k/",
            "/d/did:key:k/a",
            "/d/did:key:k//a",
            "/n",
            "/n/",
            "/n/k",
            "/n/k/",
        ] {
            assert_eq!(GatewayPath::parse(path), GatewayPath::Unknown, "{path}");
        }
    }

    #[test]
    fn encoded_bytes() {
        for (part, text) in [
            ("", Some("")),
            ("a/b", Some("a/b")),
            ("%41%2fb%", Some("A/b%")),
            ("%4", Some("%4")),
            ("%+1%zz", Some("%+1%zz")),
            ("%%41", Some("%A")),
            ("%c3%A9", Some("é")),
            ("%ff", None),
        ] {
            assert_eq!(decode(part).as_deref(), text, "{part}");
        }
    }
}
