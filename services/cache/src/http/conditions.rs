//! Evaluates conditional requests by entity tags (RFC 9110, section 13).

/// The result of the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionResult {
    /// Respond normally.
    Proceed,
    /// 304: the client has the current version.
    NotModified,
    /// 412: a precondition failed.
    Failed,
}

/// An entity tag in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a str,
}

/// Evaluates `If-Match` and `If-None-Match`, each as one list, for the object with the tag `own`,
/// without quotation marks. A malformed field matches nothing.
pub fn evaluate(if_match: Option<&str>, if_none_match: Option<&str>, own: &str) -> ConditionResult {
    // A weak tag never matches here (RFC 9110, 13.1.1).
    let strong = |tag: &Tag| !tag.is_weak && tag.opaque == own;
    match (if_match, if_none_match) {
        (Some(field), _) if !matches(field, strong) => ConditionResult::Failed,
        (_, Some(field)) if matches(field, |tag| tag.opaque == own) => ConditionResult::NotModified,
        _ => ConditionResult::Proceed,
    }
}

/// Whether `If-Range` permits a partial response: it must name this very object. A date never does,
/// because objects have none.
pub fn if_range_matches(if_range: &str, own: &str) -> bool {
    let tag = parse_tag(if_range.trim());
    tag.is_some_and(|(tag, rest)| rest.is_empty() && !tag.is_weak && tag.opaque == own)
}

/// Whether the field is `*`, or a list with a tag for which `is_it` is true.
fn matches(field: &str, is_it: impl Fn(&Tag) -> bool) -> bool {
    let blank = [' ', '\t', ','];
    let mut rest = field.trim_matches(blank);
    if rest == "*" {
        return true;
    }
    let mut found = false;
    while !rest.is_empty() {
        let Some((tag, after)) = parse_tag(rest) else { return false };
        found |= is_it(&tag);
        let next = after.trim_start_matches([' ', '\t']);
        if !next.is_empty() && !next.starts_with(',') {
            return false;
        }
        rest = next.trim_start_matches(blank);
    }
    found
}

/// The first tag of `text`, and the rest. A tag may contain commas.
fn parse_tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let (is_weak, quoted) = match text.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    let is_tag = opaque.bytes().all(|byte| byte == 0x21 || (0x23..0x7f).contains(&byte));
    is_tag.then_some((Tag { is_weak, opaque }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_the_rfc_has_it() {
        use ConditionResult::{Failed, NotModified, Proceed};
        for (if_match, if_none_match, expected) in [
            (None, None, Proceed),
            (None, Some("\"a\""), NotModified),
            (None, Some("W/\"a\""), NotModified),
            (None, Some("\"b\", \"a,b\" ,W/\"a\""), NotModified),
            (None, Some("*"), NotModified),
            (None, Some("\"b\""), Proceed),
            (None, Some("\"a,b\""), Proceed),
            (None, Some("a"), Proceed),
            (None, Some("\"a\" \"b\""), Proceed),
            (None, Some(""), Proceed),
            (Some("\"a\""), None, Proceed),
            (Some("*"), None, Proceed),
            (Some("\"b\",\"a\""), None, Proceed),
            (Some("W/\"a\""), None, Failed),
            (Some("\"b\""), None, Failed),
            (Some(""), None, Failed),
            // `If-Match` is evaluated first (13.2.2).
            (Some("\"b\""), Some("\"a\""), Failed),
            (Some("\"a\""), Some("\"a\""), NotModified),
        ] {
            let judged = evaluate(if_match, if_none_match, "a");
            assert_eq!(judged, expected, "{if_match:?} {if_none_match:?}");
        }
        for (field, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a\", \"a\"", false),
            ("*", false),
            ("Sat, 29 Oct 1994 19:43:31 GMT", false),
        ] {
            assert_eq!(if_range_matches(field, "a"), expected, "{field}");
        }
    }

    proptest! {
        #[test]
        fn one_of_a_list(
            tags in prop::collection::vec("[!#-~]{0,5}", 1..5), at: prop::sample::Index, weak: bool,
        ) {
            let own = at.get(&tags);
            let mark = if weak { "W/" } else { "" };
            let field: Vec<String> = tags.iter().map(|tag| format!("{mark}\"{tag}\"")).collect();
            let field = field.join(", ");
            prop_assert_eq!(evaluate(None, Some(&field), own), ConditionResult::NotModified);
            prop_assert_eq!(evaluate(Some(&field), None, own) == ConditionResult::Proceed, !weak);
        }

        #[test]
        fn never_panics(field in "\\PC{0,40}", own in "[a-z]{3}") {
            let _ = (evaluate(Some(&field), Some(&field), &own), if_range_matches(&field, &own));
        }
    }
}
