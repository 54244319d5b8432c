//! A page of Markdown: its tables and its sections.

use std::fmt::Write;
use std::process::Command;

use super::sample::TimeSample;

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

/// One thing the image is held to.
pub struct BenchGoal {
    pub what: String,
    pub is: String,
    pub must: String,
    pub met: bool,
}

/// Adds a table of goals to `page`.
pub fn goals(page: &mut String, goals: &[BenchGoal]) {
    let rows = goals.iter().map(|goal| {
        let met = if goal.met { "met" } else { "**missed**" };
        [goal.what.clone(), goal.is.clone(), goal.must.clone(), met.to_owned()]
    });
    table(page, ["what", "measured", "goal", ""], rows);
}

/// A row of times, in seconds.
pub fn row(what: &str, sample: &TimeSample) -> [String; 4] {
    let (least, most) = sample.range();
    [
        what.to_owned(),
        format!("{:.2}", sample.median()),
        format!("{least:.2}"),
        format!("{most:.2}"),
    ]
}

/// `page` with a line below the heading of each section: of which commit it is.
pub fn at_commit(page: &str, commit: &str) -> String {
    let mut text = String::new();
    for line in page.lines() {
        let _ = writeln!(text, "{line}");
        if line.starts_with("## ") {
            let _ = writeln!(text, "\nMeasured at {commit}.");
        }
    }
    text
}

/// The commit that is checked out in `folder`, in words.
pub fn commit(folder: &std::path::Path) -> String {
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(words).output();
        output.map_or(String::new(), |it| String::from_utf8_lossy(&it.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=10", "HEAD"]);
    match (hash.as_str(), git(&["status", "--porcelain", "--untracked-files=no"]).as_str()) {
        ("", _) => "no commit that git knows".to_owned(),
        (_, "") => format!("commit `{hash}`"),
        _ => format!("commit `{hash}` with changes"),
    }
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

    #[test]
    fn each_section_names_its_commit() {
        let page = at_commit("# It\n\n## A\n\none\n\n## B\n", "commit `1`");
        let wanted =
            "# It\n\n## A\n\nMeasured at commit `1`.\n\none\n\n## B\n\nMeasured at commit `1`.\n";
        assert_eq!(page, wanted);
    }
}
