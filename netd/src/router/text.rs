//! Pieces of what nft reads.

use std::fmt::{Display, Write as _};

/// ` elements = { a, b }`, or nothing: nft knows no empty list.
pub fn elements<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    match list(items) {
        list if list.is_empty() => list,
        list => format!(" elements = {{ {list} }}"),
    }
}

/// `a, b`
pub fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut list = String::new();
    for item in items {
        let comma = if list.is_empty() { "" } else { ", " };
        let _ = write!(list, "{comma}{item}");
    }
    list
}

/// `"eth0"`
pub fn quoted(name: impl Display) -> String {
    format!("\"{name}\"")
}
