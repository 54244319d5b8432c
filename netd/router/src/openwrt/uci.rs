//! OpenWrt's configuration (UCI): sections of files, as `uci export` writes them and `uci batch`
//! accepts them.

use std::fmt::{self, Write as _};

/// A section of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UciSection {
    /// The file: `network`, `firewall`, `dhcp`.
    pub config: String,
    /// The type of the section.
    pub kind: String,
    /// Its name; the router invents one for an anonymous section, a new one after each change.
    pub name: Option<String>,
    /// Its options, in the order of the file.
    pub options: Vec<(String, Value)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    One(String),
    List(Vec<String>),
}

/// A line that is not valid UCI.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct UciError {
    line: usize,
    what: &'static str,
}

impl UciSection {
    /// A section without options.
    pub fn new(config: &str, kind: &str, name: impl fmt::Display) -> Self {
        let (config, kind, name) = (config.to_owned(), kind.to_owned(), Some(name.to_string()));
        Self { config, kind, name, options: vec![] }
    }

    /// Adds an option with a single value.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl fmt::Display) -> Self {
        self.options.push((option.to_owned(), Value::One(value.to_string())));
        self
    }

    /// Adds a list option.
    #[must_use]
    pub fn with_list<V: fmt::Display>(
        mut self,
        option: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(|value| value.to_string()).collect();
        self.options.push((option.to_owned(), Value::List(values)));
        self
    }

    /// The first value of an option.
    pub fn one(&self, option: &str) -> Option<&str> {
        self.all(option).next()
    }

    /// All values of an option: some boards write a list as one text, separated by spaces.
    pub fn all<'a>(&'a self, option: &str) -> impl Iterator<Item = &'a str> {
        let found = self.options.iter().filter(move |(name, _)| name == option);
        let option = found.map(|(_, value)| value).next_back();
        let values = match option {
            None => &[],
            Some(Value::One(value)) => std::slice::from_ref(value),
            Some(Value::List(values)) => &values[..],
        };
        values.iter().flat_map(|value| value.split_whitespace())
    }

    /// The section as people find it, if it has a name: `firewall zone 'lan'`. An anonymous one
    /// among others is identified by its index ([`super::router::OpenwrtRouter::label`]).
    pub fn label(&self) -> String {
        let name = self.name.as_deref().or_else(|| self.one("name"));
        let name = name.map(|name| format!(" '{name}'")).unwrap_or_default();
        format!("{} {}{name}", self.config, self.kind)
    }
}

/// The syntax of `uci export`.
impl fmt::Display for UciSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config {}", self.kind)?;
        if let Some(name) = &self.name {
            write!(f, " {}", quoted(name))?;
        }
        f.write_char('\n')?;
        for (key, value) in &self.options {
            match value {
                Value::One(value) => writeln!(f, "\toption {key} {}", quoted(value))?,
                Value::List(list) => list
                    .iter()
                    .try_for_each(|value| writeln!(f, "\tlist {key} {}", quoted(value)))?,
            }
        }
        f.write_char('\n')
    }
}

/// A text in single quotes, as a shell reads it.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The sections of several files that `uci export` has written, one after the other.
///
/// # Errors
/// A line is not valid UCI.
pub fn parse(text: &str) -> Result<Vec<UciSection>, UciError> {
    let mut sections: Vec<UciSection> = vec![];
    let mut config = None;
    for (index, line) in text.lines().enumerate() {
        let wrong = |what| UciError { line: index + 1, what };
        let words = words(line).ok_or(wrong("a quote is not closed"))?;
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        match words[..] {
            [] => {}
            ["package", name] => config = Some(name.to_owned()),
            ["config", kind, ref name @ ..] if name.len() < 2 => {
                let config = config.clone().ok_or(wrong("a section before any `package`"))?;
                let name = name.first().map(|name| (*name).to_owned());
                sections.push(UciSection { config, kind: kind.to_owned(), name, options: vec![] });
            }
            [how @ ("option" | "list"), key, value] => {
                let section = sections.last_mut().ok_or(wrong("an option before any section"))?;
                let known = section.options.iter_mut().find(|(name, _)| name == key);
                match (how, known) {
                    ("list", Some((_, Value::List(list)))) => list.push(value.to_owned()),
                    ("list", None) => {
                        let list = Value::List(vec![value.to_owned()]);
                        section.options.push((key.to_owned(), list));
                    }
                    ("option", None) => {
                        section.options.push((key.to_owned(), Value::One(value.to_owned())));
                    }
                    _ => return Err(wrong("an option that is there already")),
                }
            }
            _ => return Err(wrong("none of package, config, option and list with what they take")),
        }
    }
    Ok(sections)
}

/// The words of a line: quotes and backslashes as in a shell, and `#` begins a comment.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = vec![];
    let mut is_open = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            is_open = false;
            continue;
        }
        if c == '#' && !is_open {
            break;
        }
        if !is_open {
            words.push(String::new());
            is_open = true;
        }
        let word = words.last_mut()?;
        match c {
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    other => word.push(other),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => word.push(chars.next()?),
                    other => word.push(other),
                }
            },
            '\\' => word.push(chars.next()?),
            other => word.push(other),
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_is_written_in_other_ways() {
        let text = "package network\n\n# a comment\nconfig device\n  option name \"br-lan\"  # and one\n\
            \toption ports 'lan1 lan2'\nconfig interface lan\n\tlist a it\\'s\n\tlist a 'b c'\n";
        let sections = parse(text).unwrap();
        assert_eq!(sections[0].all("ports").collect::<Vec<_>>(), ["lan1", "lan2"]);
        assert_eq!(sections[0].label(), "network device 'br-lan'");
        assert_eq!(sections[1].name.as_deref(), Some("lan"));
        assert_eq!(sections[1].options[0].1, Value::List(vec!["it's".into(), "b c".into()]));
        for (bad, line) in [
            ("config a\n", 1),
            ("package a\noption b c\n", 2),
            ("package a\n\nconfig b\noption c 'd\n", 4),
            ("package a\nconfig b\noption c d\noption c d\n", 4),
            ("{\n", 1),
        ] {
            assert_eq!(parse(bad).unwrap_err().line, line, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            sections in prop::collection::vec(
                ("[a-z-]{1,5}", prop::option::of("[a-z_0-9]{1,5}"), prop::collection::btree_map(
                    "[a-z_]{1,4}", prop::collection::vec("[ -~]{0,6}", 1..3), 0..3)),
                0..4,
            ),
        ) {
            let section = |(kind, name, options): (String, Option<String>, std::collections::BTreeMap<String, Vec<String>>)| UciSection {
                config: "a".into(),
                kind,
                name,
                options: options.into_iter().map(|(key, mut list)| match list.len() {
                    1 => (key, Value::One(list.remove(0))),
                    _ => (key, Value::List(list)),
                }).collect(),
            };
            let sections: Vec<_> = sections.into_iter().map(section).collect();
            let text: String = sections.iter().map(UciSection::to_string).collect();
            prop_assert_eq!(parse(&format!("package a\n\n{text}")), Ok(sections));
        }

        #[test]
        fn never_panics(text in "((package|config|option|list)[ '\"#\\\\a\n]{0,3}){0,9}") {
            let _ = parse(&text);
        }
    }
}
