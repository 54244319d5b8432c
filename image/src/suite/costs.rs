//! The table of what tests cost, in `tests/README.md`. `cargo image test --write-costs` writes it; which test is
//! started first is read from it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

const BEGIN: &str = "<!-- costs: written by `cargo image test --write-costs` -->\n";
const END: &str = "<!-- end of costs -->";

/// Tests that take less are not listed, in seconds.
const MIN_SECONDS: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Short,
    /// With `--soak` only.
    Long,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }
}

/// What each test took, by its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Costs(BTreeMap<String, (Tier, Cost)>);

/// What one took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    /// From its start to its end.
    wall: u64,
    /// Of processors, its guests' among them.
    cpu: u64,
}

impl Costs {
    /// The table in `text`. A line that is not a row of it counts for nothing: no test depends on what this says.
    pub fn read(text: &str) -> Self {
        let table = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        let rows = table.map_or("", |(table, _)| table).lines().filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next()?.trim_matches('`').to_owned();
            let tier = match cells.next()? {
                "short" => Tier::Short,
                "long" => Tier::Long,
                _ => return None,
            };
            let mut number = || cells.next()?.parse().ok();
            Some((name, (tier, Cost { wall: number()?, cpu: number()? })))
        });
        Self(rows.collect())
    }

    /// What the test took when the table was written.
    pub fn get(&self, name: &str) -> Duration {
        Duration::from_secs(self.0.get(name).map_or(0, |(_, cost)| cost.wall))
    }

    /// Notes what it took now.
    pub fn record(&mut self, name: &str, tier: Tier, [wall, cpu]: [Duration; 2]) {
        let cost = Cost { wall: wall.as_secs(), cpu: cpu.as_secs() };
        self.0.insert(name.to_owned(), (tier, cost));
    }

    /// Gives each test the tier that it has now, and forgets those that are not there any more.
    pub fn retain(&mut self, now: impl Fn(&str) -> Option<Tier>) {
        self.0.retain(|name, (tier, _)| now(name).map(|now| *tier = now).is_some());
    }

    /// `text` with this table in place of its own; `None` if it has no place for one.
    pub fn replace_table(&self, text: &str) -> Option<String> {
        let (before, rest) = text.split_once(BEGIN)?;
        let (_, after) = rest.split_once(END)?;
        let mut rows: Vec<_> =
            self.0.iter().filter(|(_, (_, cost))| cost.wall >= MIN_SECONDS).collect();
        rows.sort_by_key(|(_, (tier, cost))| (*tier == Tier::Long, std::cmp::Reverse(cost.wall)));
        let mut table = String::from("| test | tier | seconds | CPU |\n|---|---|---:|---:|\n");
        for (name, (tier, Cost { wall, cpu })) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| `{name}` | {} | {wall} | {cpu} |", tier.name());
        }
        Some(format!("{before}{BEGIN}{table}{END}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it tests are started in the order of their names, and the longest is alone at the end.
    #[test]
    fn the_table_is_there() {
        let costs = Costs::read(include_str!("../../../tests/README.md"));
        assert!(costs.0.len() > 50, "{costs:?}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = format!(
            "Before.\n{BEGIN}| test | tier | seconds | CPU |\n|---|---|---:|---:|\n| `a` | long | 7 | 9 |\n{END}\nAfter.\n"
        );
        let mut costs = Costs::read(&text);
        assert_eq!(costs.get("a"), Duration::from_secs(7));
        costs.record("b::c", Tier::Short, [9_800, 12_100].map(Duration::from_millis));
        costs.record("quick", Tier::Short, [400, 2_300].map(Duration::from_millis));
        let written = costs.replace_table(&text).unwrap();
        assert!(
            written.starts_with("Before.\n")
                && written.ends_with("|\n<!-- end of costs -->\nAfter.\n")
        );
        assert!(
            written.contains("| `b::c` | short | 9 | 12 |\n| `a` | long | 7 | 9 |\n"),
            "{written}"
        );
        assert!(!written.contains("quick"), "{written}");
        let again = Costs::read(&written);
        assert_eq!(again.replace_table(&written).unwrap(), written);
        costs.retain(|name| (name == "a").then_some(Tier::Long));
        assert_eq!(costs, Costs::read(&text));
        costs.retain(|_| Some(Tier::Short));
        assert!(costs.replace_table(&text).unwrap().contains("| `a` | short | 7 | 9 |\n"));
    }

    #[test]
    fn a_text_without_a_table_has_none() {
        assert_eq!(Costs::read("| `a` | long | 7 | 9 |"), Costs::default());
        assert_eq!(Costs::default().replace_table("no place"), None);
    }
}
