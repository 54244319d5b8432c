//! The path and query of a request in one form (RFC 3986, 6.2.2): what the key has is exactly what goes up.

use std::borrow::Cow;

/// Normalises the path and query of a request: percent-encoded unreserved characters are decoded, other digits are upper
/// case, and dot segments are removed. `None` if a `%` is not followed by two digits.
pub fn normalise(path: &str, query: Option<&str>) -> Option<String> {
    let mut target = remove_dot_segments(&decode_unreserved(path)?).into_owned();
    if let Some(query) = query {
        target.push('?');
        target.push_str(&decode_unreserved(query)?);
    }
    Some(target)
}

fn decode_unreserved(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..2).filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        match u8::from_str_radix(digits, 16).ok()? {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
            }
            byte => decoded.push_str(&format!("%{byte:02X}")),
        }
        decoded.push_str(&part[2..]);
    }
    Some(Cow::Owned(decoded))
}

/// RFC 3986, 5.2.4, for a path that begins with `/`.
fn remove_dot_segments(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = vec![];
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Uri;
    use proptest::prelude::*;

    #[test]
    fn as_the_rfc_has_it() {
        for (path, query, expected) in [
            ("/", None, "/"),
            ("/a/b", Some("c=d"), "/a/b?c=d"),
            ("/a/./b/../c", None, "/a/c"),
            ("/a/b/c/./../../g", None, "/a/g"),
            ("/..", None, "/"),
            ("/../../a", None, "/a"),
            ("/a/.", None, "/a/"),
            ("/a/..", None, "/"),
            ("/a//b/", None, "/a//b/"),
            ("/%7euser/%41%2f%2F", Some("q=%7e%c3%A9&&"), "/~user/A%2F%2F?q=~%C3%A9&&"),
            ("/a/%2e%2e/b", None, "/b"),
            ("/a", Some(""), "/a?"),
            ("/a", Some("../b"), "/a?../b"),
        ] {
            assert_eq!(normalise(path, query).as_deref(), Some(expected), "{path} {query:?}");
        }
        for bad in ["/%", "/%4", "/%zz", "/%%341", "/%+1"] {
            assert_eq!(normalise(bad, None), None, "{bad}");
            assert_eq!(normalise("/", Some(bad)), None, "{bad}");
        }
    }

    proptest! {
        /// What goes up is the key, and gives the same key again.
        #[test]
        fn once_is_enough(path in "/(%(2[ef]|[0-9a-fA-F]{2})|[a-c./]|[!-~&&[^#?%]]){0,20}", query in prop::option::of("(%[0-9a-fA-F]{2}|[!-~&&[^#%]]){0,20}")) {
            let query = query.as_deref();
            let once = normalise(&path, query).unwrap();
            let (before, after) = match once.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (once.as_str(), None),
            };
            prop_assert_eq!(normalise(before, after).unwrap(), once.clone());
            prop_assert!(once.starts_with('/'));
            prop_assert_eq!(after.is_some(), query.is_some());
            if let Ok(uri) = once.parse::<Uri>() {
                prop_assert_eq!(uri.path_and_query().unwrap().as_str(), once);
            }
        }

        #[test]
        fn never_panics(path in "\\PC{0,30}", query in prop::option::of("\\PC{0,30}")) {
            let _ = normalise(&path, query.as_deref());
        }
    }
}
