//! Reads the values of a section. Unknown keys are refused, because they may change the meaning of
//! a rule.

use toml::{Table, Value};

/// A section, with its name for errors.
pub(crate) struct Section<'a> {
    name: String,
    table: &'a Table,
}

impl<'a> Section<'a> {
    /// The section `name`, which may have only the keys `keys`. `None` if it does not exist.
    pub fn find(file: &'a Table, name: &str, keys: &[&str]) -> Result<Option<Self>, String> {
        let Some(value) = file.get(name) else { return Ok(None) };
        let table = value.as_table().ok_or_else(|| format!("`{name}` is no section"))?;
        Self::of(table, format!("[{name}]"), keys).map(Some)
    }

    /// All sections `[[name]]`, in their order.
    pub fn all(file: &'a Table, name: &str, keys: &[&str]) -> Result<Vec<Self>, String> {
        let Some(value) = file.get(name) else { return Ok(vec![]) };
        let wrong = || format!("`{name}` is no list of sections");
        let values = value.as_array().ok_or_else(wrong)?;
        let numbered = values.iter().zip(1..);
        let section = |(value, number): (&'a Value, u32)| {
            let table = value.as_table().ok_or_else(wrong)?;
            Self::of(table, format!("[[{name}]] {number}"), keys)
        };
        numbered.map(section).collect()
    }

    fn of(table: &'a Table, name: String, keys: &[&str]) -> Result<Self, String> {
        match table.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(format!("{name}: what is `{key}`?")),
            None => Ok(Self { name, table }),
        }
    }

    pub fn wrong(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.name)
    }

    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.table.get(key)
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        let read = |value: &'a Value| {
            value.as_str().ok_or_else(|| self.wrong(format_args!("`{key}` is no text")))
        };
        self.value(key).map(read).transpose()
    }

    pub fn number<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>, String> {
        let read = |value: &'a Value| {
            let number = value.as_integer().and_then(|number| number.try_into().ok());
            number.ok_or_else(|| self.wrong(format_args!("`{key}` is no number that fits")))
        };
        self.value(key).map(read).transpose()
    }

    /// A text or a list of texts; empty if the key does not exist.
    pub fn texts(&self, key: &str) -> Result<Vec<&'a str>, String> {
        let values = match self.value(key) {
            None => return Ok(vec![]),
            Some(Value::Array(values)) => values.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let wrong = || self.wrong(format_args!("`{key}` is no list of texts"));
        values.iter().map(|value| value.as_str().ok_or_else(wrong)).collect()
    }

    /// A required value.
    pub fn must<T>(&self, key: &str, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| self.wrong(format_args!("`{key}` is missing")))
    }
}
