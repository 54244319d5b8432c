//! A page of Markdown: its tables and its sections.

use std::fmt::Write;

/// `page` with `section` in the place of its section of that `title`, or at its end. A section goes
/// on to the next heading of its level.
pub fn replace_section(page: &str, title: &str, section: &str) -> String {
    let Some(start) = page.find(&format!("\n{title}\n")).map(|at| at + 1) else {
        return format!("{}\n\n{section}", page.trim_end());
    };
    let rest = &page[start + title.len()..];
    let after = rest.find("\n## ").map_or("", |at| &rest[at + 1..]);
    let gap = if after.is_empty() { "" } else { "\n" };
    format!("{}{section}{gap}{after}", &page[..start])
}

/// Adds a table to `page`.
pub fn table<const N: usize>(
    page: &mut String,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let _ = writeln!(page, "| {} |\n|{}", head.join(" | "), "---|".repeat(N));
    for row in rows {
        let _ = writeln!(page, "| {} |", row.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_or_added() {
        let (page, new) = ("# It\n\n## A\n\none\n", "## B\n\nnew\n");
        let added = format!("{page}\n{new}");
        assert_eq!(replace_section(page, "## B", new), added);
        assert_eq!(replace_section(&added, "## B", new), added);
        let middle = format!("# It\n\n## B\n\nold\n### C\n\n{}", "## D\n\nkept\n");
        let wanted = format!("# It\n\n{new}\n## D\n\nkept\n");
        assert_eq!(replace_section(&middle, "## B", new), wanted);
    }
}
