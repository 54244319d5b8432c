//! Parses text to a checked type, and gives every mistake a position in the text.

mod error_span;

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::file_error::{FileError, nearest};

/// Parses `text`, the content of `file`, strictly: an unknown key is a mistake.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Box<FileError>> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        let hint = hint(&message);
        FileError::new(file, text, error_span::locate::<T>(text, &error), message, hint)
    })
}

/// The position in `text` of the last of `keys`, each of which is in the table, or is an index in
/// the list, before it: that of its value, or, of a table, of its name. If a part is missing, the
/// position is that of its parent.
pub(crate) fn span_of(text: &str, keys: &[&str]) -> Range<usize> {
    let Ok(document) = DeTable::parse(text) else { return 0..0 };
    span_in(document.get_ref(), keys).unwrap_or(0..0)
}

fn span_in(table: &DeTable<'_>, keys: &[&str]) -> Option<Range<usize>> {
    let (wanted, rest) = keys.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == wanted)?;
    Some(match value.get_ref() {
        DeValue::Table(inner) => span_in(inner, rest).unwrap_or(key.span()),
        DeValue::Array(list) => {
            let item = rest.first().and_then(|index| list.get(index.parse::<usize>().ok()?));
            let inside = item.and_then(|item| span_in(item.get_ref().as_table()?, &rest[1..]));
            inside.or(item.map(toml::Spanned::span)).unwrap_or(value.span())
        }
        _ => value.span(),
    })
}

/// The top-level keys in `text`, with their positions.
pub(crate) fn top_keys(text: &str) -> Vec<(String, Range<usize>)> {
    let Ok(document) = DeTable::parse(text) else { return vec![] };
    document.get_ref().keys().map(|key| (key.get_ref().to_string(), key.span())).collect()
}

/// A hint derived from the parser's message; the names it offers are compared with the one that was
/// typed.
fn hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let wanted = quoted.next().unwrap_or_default();
        return match nearest(wanted, quoted)[..] {
            [] => "remove it, or use one of the names listed above".into(),
            [best, ..] => format!("did you mean `{best}`?"),
        };
    }
    if message.starts_with("missing field") {
        return format!("add `{} = …`", quoted.next().unwrap_or_default());
    }
    if message.starts_with("invalid type") {
        return "give a value of the type that is expected".into();
    }
    "correct the value at the mark".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "packages")]
        _packages: Vec<String>,
    }

    #[test]
    fn places_an_unknown_key_and_offers_the_right_one() {
        let error = parse::<Sample>("s.toml", "packages = []\npackage = 1\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1));
        assert_eq!(error.hint, "did you mean `packages`?");
    }

    #[test]
    fn places_a_wrong_type() {
        let error = parse::<Sample>("s.toml", "packages = 7\n").unwrap_err();
        assert_eq!((error.line, error.column), (1, 12));
        assert!(error.message.contains("invalid type"), "{}", error.message);
    }

    #[test]
    fn finds_the_place_of_a_key() {
        let text = "a = 1\nt.b = \"x\"\n[u.v]\nw = [2]\n";
        let said = |keys: &[&str]| &text[span_of(text, keys)];
        assert_eq!(said(&["a"]), "1");
        assert_eq!(said(&["t", "b"]), "\"x\"");
        assert_eq!(said(&["u", "v", "w"]), "[2]");
        assert_eq!(said(&["u", "v"]), "v");
        assert_eq!(said(&["u", "v", "gone"]), "v");
        assert_eq!(said(&["gone", "b"]), "");
        let text = "l = [3, { a = 4 }]\n[[t.m]]\na = 5\n[[t.m]]\na = 6\n";
        let said = |keys: &[&str]| &text[span_of(text, keys)];
        assert_eq!((said(&["l", "0"]), said(&["l", "1", "a"])), ("3", "4"));
        assert_eq!((said(&["t", "m", "1", "a"]), said(&["t", "m", "0", "a"])), ("6", "5"));
        assert_eq!((said(&["l", "1", "gone"]), said(&["l", "7"])), ("{ a = 4 }", "[3, { a = 4 }]"));
        let text = "a = 1\nt.b = \"x\"\n[u.v]\nw = [2]\n";
        let names: Vec<_> = top_keys(text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "t", "u"]);
        assert_eq!((span_of("[", &["a"]), top_keys("[")), (0..0, vec![]));
    }

    #[test]
    fn names_a_missing_key() {
        let error = parse::<Sample>("s.toml", "").unwrap_err();
        assert_eq!(error.hint, "add `packages = …`");
    }
}
