//! The configuration of the router (UCI): its files, and the staged changes of a session in the
//! format of `uci changes`.

use serde_json::{Map, Value, json};

/// A file of `/etc/config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub sections: Vec<Section>,
    /// The number of sections since the file was read: the name of the next anonymous one depends
    /// on it.
    counted: usize,
}

/// A section of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name; that of an anonymous section is generated.
    pub name: String,
    /// Whether the name is generated.
    pub is_anonymous: bool,
    pub kind: String,
    pub options: Vec<(String, Setting)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    One(String),
    List(Vec<String>),
}

/// A staged change in the format of `uci changes`: the operation, the section, and the operands.
pub type Row = Vec<Value>;

impl Package {
    pub fn read(text: &str) -> Self {
        let mut package = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (first, second) = (words.next(), words.next());
            let quoted = || line.split_once('\'').map(|(_, rest)| rest.trim_end_matches('\''));
            match (first, second) {
                (Some("config"), Some(kind)) => package.push(quoted(), kind),
                (Some(how), Some(key)) => {
                    let value = quoted().unwrap_or_default().replace("'\\''", "'");
                    let Some(section) = package.sections.last_mut() else { continue };
                    match how {
                        "list" => section.list_add(key, value),
                        _ => section.set(key, Setting::One(value)),
                    }
                }
                _ => {}
            }
        }
        package
    }

    pub fn text(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let mut text = "\n".to_owned();
        for section in &self.sections {
            text += &format!("config {}", section.kind);
            if !section.is_anonymous {
                text += &format!(" {}", quoted(&section.name));
            }
            text.push('\n');
            for (key, setting) in &section.options {
                match setting {
                    Setting::One(one) => text += &format!("\toption {key} {}\n", quoted(one)),
                    Setting::List(list) => {
                        for one in list {
                            text += &format!("\tlist {key} {}\n", quoted(one));
                        }
                    }
                }
            }
            text.push('\n');
        }
        text
    }

    /// The file after it was written and read again: anonymous sections get other names then.
    #[must_use]
    pub fn saved(self) -> Self {
        let mut package = Self::default();
        for mut section in self.sections {
            package.counted += 1;
            if section.is_anonymous {
                section.name = made_up(package.counted, &section.kind);
            }
            package.sections.push(section);
        }
        package
    }

    fn push(&mut self, name: Option<&str>, kind: &str) {
        self.counted += 1;
        let made_up = || made_up(self.counted, kind);
        let section = Section {
            name: name.map_or_else(made_up, str::to_owned),
            is_anonymous: name.is_none(),
            kind: kind.to_owned(),
            options: vec![],
        };
        self.sections.push(section);
    }

    /// The name of the next anonymous section of this type.
    pub fn next_name(&self, kind: &str) -> String {
        made_up(self.counted + 1, kind)
    }

    /// The index of the section with this name, or of the one that `@type[index]` selects.
    pub fn find(&self, name: &str) -> Option<usize> {
        let Some((kind, index)) = name.strip_prefix('@').and_then(|it| it.split_once('[')) else {
            return self.sections.iter().position(|it| it.name == name);
        };
        let of = self.sections.iter().enumerate().filter(|(_, it)| it.kind == kind);
        let of: Vec<_> = of.map(|(at, _)| at).collect();
        let index: isize = index.strip_suffix(']')?.parse().ok()?;
        let index = if index < 0 { index + isize::try_from(of.len()).ok()? } else { index };
        of.get(usize::try_from(index).ok()?).copied()
    }

    /// The section with this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.find(name).map(|at| &self.sections[at])
    }

    /// The sections of this type with all of the options `matched`.
    pub fn matching(&self, kind: Option<&str>, matched: &Map<String, Value>) -> Vec<usize> {
        let says = |section: &Section| {
            matched.iter().all(|(key, value)| section.json_of(key).as_ref() == Some(value))
        };
        let is_it = |it: &Section| kind.is_none_or(|kind| it.kind == kind) && says(it);
        let found = self.sections.iter().enumerate().filter(|(_, it)| is_it(it));
        found.map(|(at, _)| at).collect()
    }

    /// Applies a staged change.
    pub fn follow(&mut self, row: &Row) {
        let words: Vec<&str> = row.iter().map(|it| it.as_str().unwrap_or_default()).collect();
        match words[..] {
            ["add", name, kind] => {
                self.push(Some(name), kind);
                if let Some(section) = self.sections.last_mut() {
                    section.is_anonymous = true;
                }
            }
            ["set", name, kind] => match self.find(name) {
                Some(at) => kind.clone_into(&mut self.sections[at].kind),
                None => self.push(Some(name), kind),
            },
            ["order", name, _] => {
                let to = row[2].as_u64().and_then(|to| usize::try_from(to).ok());
                if let (Some(at), Some(to)) = (self.find(name), to) {
                    let section = self.sections.remove(at);
                    self.sections.insert(to.min(self.sections.len()), section);
                }
            }
            ["remove", name] => {
                if let Some(at) = self.find(name) {
                    self.sections.remove(at);
                }
            }
            [how, name, ..] => {
                let Some(at) = self.find(name) else { return };
                let section = &mut self.sections[at];
                match (how, &words[2..]) {
                    ("set", [key, value]) => section.set(key, Setting::One((*value).to_owned())),
                    ("list-add", [key, value]) => section.list_add(key, (*value).to_owned()),
                    ("remove", [key]) => section.options.retain(|(it, _)| it != key),
                    ("rename", [name]) => {
                        (*name).clone_into(&mut section.name);
                        section.is_anonymous = false;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The sections in the format of `uci get`.
    pub fn json(&self, which: &[usize]) -> Value {
        let mut values = Map::new();
        for at in which {
            let section = &self.sections[*at];
            values.insert(section.name.clone(), section.json(Some(*at)));
        }
        Value::Object(values)
    }
}

impl Section {
    /// The values of an option; several if it is a list.
    pub fn all(&self, key: &str) -> Vec<&str> {
        match self.options.iter().find(|(it, _)| it == key) {
            Some((_, Setting::One(one))) => one.split_whitespace().collect(),
            Some((_, Setting::List(list))) => list.iter().map(String::as_str).collect(),
            None => vec![],
        }
    }

    pub fn one(&self, key: &str) -> Option<&str> {
        self.all(key).first().copied()
    }

    fn set(&mut self, key: &str, setting: Setting) {
        match self.options.iter_mut().find(|(it, _)| it == key) {
            Some((_, there)) => *there = setting,
            None => self.options.push((key.to_owned(), setting)),
        }
    }

    fn list_add(&mut self, key: &str, value: String) {
        match self.options.iter_mut().find(|(it, _)| it == key) {
            Some((_, Setting::List(list))) => list.push(value),
            _ => self.set(key, Setting::List(vec![value])),
        }
    }

    /// The value of an option, in the format of `uci get`.
    pub fn json_of(&self, key: &str) -> Option<Value> {
        self.options.iter().find(|(it, _)| it == key).map(|(_, setting)| match setting {
            Setting::One(one) => json!(one),
            Setting::List(list) => json!(list),
        })
    }

    /// The section in the format of `uci get`; in a list of sections it has its index.
    pub fn json(&self, index: Option<usize>) -> Value {
        let mut json =
            json!({ ".anonymous": self.is_anonymous, ".type": self.kind, ".name": self.name });
        if let Some(index) = index {
            json[".index"] = json!(index);
        }
        for (key, _) in &self.options {
            json[key] = self.json_of(key).unwrap_or_default();
        }
        json
    }

    /// The changes that append all of `list` to an option; `None` if a value is invalid for UCI.
    pub fn list_rows(&self, key: &str, list: &[Value]) -> Option<Vec<Row>> {
        let row =
            |value: String| vec![json!("list-add"), json!(self.name), json!(key), json!(value)];
        is_name(key).then(|| list.iter().map(|value| scalar(value).map(row)).collect())?
    }

    /// The changes that set an option to `value`; `None` if it is invalid for UCI.
    pub fn rows(&self, key: &str, value: &Value) -> Option<Vec<Row>> {
        if !is_name(key) {
            return None;
        }
        let there = self.options.iter().find(|(it, _)| it == key).map(|(_, setting)| setting);
        let remove = || vec![json!("remove"), json!(self.name), json!(key)];
        let set = |value: String| vec![json!("set"), json!(self.name), json!(key), json!(value)];
        match value {
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) => {
                let mut rows: Vec<Row> = there.iter().map(|_| remove()).collect();
                rows.extend(self.list_rows(key, list)?);
                Some(rows)
            }
            value => match (scalar(value)?, there) {
                (value, None) if value.is_empty() => Some(vec![]),
                (value, Some(_)) if value.is_empty() => Some(vec![remove()]),
                (value, Some(Setting::List(_))) => Some(vec![remove(), set(value)]),
                (value, _) => Some(vec![set(value)]),
            },
        }
    }
}

/// A value as text; UCI has neither fractions nor objects.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// Names have letters, digits and `_`.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Types may have `-`, too.
pub fn is_kind(text: &str) -> bool {
    is_name(&text.replace('-', "_"))
}

/// The generated name of the section `number` of a file, counted from 1, if it is anonymous
/// (libuci, `uci_fixup_section`).
fn made_up(number: usize, kind: &str) -> String {
    let hash = |hash: u32, byte: u8| hash.wrapping_mul(33).wrapping_add(byte.into());
    let hash = kind.bytes().fold(5381, hash) & 0xffff;
    format!("cfg{number:02x}{hash:04x}")
}
