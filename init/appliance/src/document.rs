//! From text to a checked type, with every mistake placed in the text.

use serde::de::DeserializeOwned;

use crate::file_error::{FileError, nearest};

/// Parses `text`, the content of `file`, strictly: an unknown key is a mistake.
///
/// # Errors
/// The first mistake, with its line and column.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Box<FileError>> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        let hint = hint(&message);
        FileError::new(file, text, error.span().unwrap_or(0..0), message, hint)
    })
}

/// What a person should do, from the parser's own words; names it offers are compared with the
/// one that was typed.
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
    fn names_a_missing_key() {
        let error = parse::<Sample>("s.toml", "").unwrap_err();
        assert_eq!(error.hint, "add `packages = …`");
    }
}
