//! Helpers that render nft's syntax.

use std::fmt::{Display, Write as _};

/// `a, b`
pub fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut list = String::new();
    push_list(&mut list, items);
    list
}

/// The same, appended to a text.
pub fn push_list<T: Display>(text: &mut String, items: impl IntoIterator<Item = T>) {
    for (index, item) in items.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{item}");
    }
}

/// `"eth0"`
pub fn quoted(name: impl Display) -> String {
    format!("\"{name}\"")
}

/// A rate limit that matches above `rate` per second.
pub fn over(rate: u32) -> String {
    format!("limit rate over {rate}/second burst {rate} packets")
}
