//! Finds the value that a parser error is about: `toml` places an error within an item of a list at
//! the whole list, and one about several keys of a table at the table's header.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

/// The position in `text`, which is not a valid `T`, of the value that `error` is about.
pub(super) fn locate<T: DeserializeOwned>(text: &str, error: &Error) -> Range<usize> {
    let Ok(mut document) = DeTable::parse(text) else { return error.span().unwrap_or(0..0) };
    let Some(at) = error.span() else {
        return named_key(document.get_ref(), error.message()).unwrap_or(0..0);
    };
    let Some(value) = value_at(document.get_mut(), &at) else { return at };
    let DeValue::Array(list) = value else { return within(value, at, error.message()) };
    let items = list.clone();
    // The faulty item is the last one of the shortest prefix of the list that has the error.
    let lengths: Vec<usize> = (1..items.len()).collect();
    let before = lengths.partition_point(|length| {
        if let Some(DeValue::Array(list)) = value_at(document.get_mut(), &at) {
            *list = items.iter().take(*length).cloned().collect();
        }
        let read = T::deserialize(Deserializer::from(document.clone()));
        read.err()
            .is_none_or(|other| (other.message(), other.span()) != (error.message(), error.span()))
    });
    items.get(before).map_or(at, |item| within(item.get_ref(), item.span(), error.message()))
}

/// The list or the table at `at`; for a list of tables, whose position is that of its first one,
/// the list.
fn value_at<'a, 'i>(table: &'a mut DeTable<'i>, at: &Range<usize>) -> Option<&'a mut DeValue<'i>> {
    table.iter_mut().find_map(|(_, value)| inside(value, at))
}

fn inside<'a, 'i>(
    value: &'a mut Spanned<DeValue<'i>>,
    at: &Range<usize>,
) -> Option<&'a mut DeValue<'i>> {
    if value.span() == *at {
        let holds = matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
        return holds.then(|| value.get_mut());
    }
    match value.get_mut() {
        DeValue::Array(list) => list.iter_mut().find_map(|item| inside(item, at)),
        DeValue::Table(table) => value_at(table, at),
        _ => None,
    }
}

/// The position of `value`, which is at `at`; for a table that of the key which `message` names.
fn within(value: &DeValue<'_>, at: Range<usize>, message: &str) -> Range<usize> {
    let key = value.as_table().and_then(|table| named_key(table, message));
    key.unwrap_or(at)
}

/// The value of the first key of `table` that `message` names, as `key` or `key = …`; if that is a
/// list, the last item that it mentions.
fn named_key(table: &DeTable<'_>, message: &str) -> Option<Range<usize>> {
    let quoted = message.split('`').skip(1).step_by(2);
    let mut names = quoted.filter_map(|text| text.split([' ', '=']).next());
    let value = names.find_map(|name| {
        table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    })?;
    let is_said = |item: &&Spanned<DeValue<'_>>| {
        let said = item.get_ref().as_str();
        said.is_some_and(|said| message.split(' ').any(|word| word == said))
    };
    let items = value.get_ref().as_array();
    let item = items.and_then(|items| items.iter().rev().find(is_said));
    Some(item.unwrap_or(value).span())
}
