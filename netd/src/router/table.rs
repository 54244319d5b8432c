//! An nftables table, and the text that loads it: all of it, or the difference from another one
//! that is loaded.
//!
//! Both are one transaction. Where a set is flushed and filled again, a packet in that moment may
//! miss an element that the set has before and after (a packet sees either all old rules or all new
//! ones, but set look-ups are not part of that: nf_tables_api.c, `nf_tables_commit`). Therefore
//! unchanged parts are not touched, and a change of one rule does not disturb the others.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use super::chain::{Declared, NftChain};
use super::text::push_list;

/// The desired content of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NftTable {
    /// The family and the name of the table.
    pub name: (&'static str, &'static str),
    /// Declarations that are never removed: base chains with their hooks, sets that rules fill,
    /// counters.
    pub frame: Vec<Declared>,
    pub counters: BTreeSet<String>,
    pub sets: Vec<Set>,
    /// The chains by name, in the order in which they are listed.
    pub chains: Vec<(String, NftChain)>,
}

/// A set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    /// `set` or `map`.
    pub keyword: &'static str,
    pub kind: String,
    /// Whether the elements have counters, so that none is ever removed.
    pub counts: bool,
    pub elements: Vec<String>,
}

impl NftTable {
    /// The chain of this name.
    pub fn chain(&self, name: &str) -> Option<&NftChain> {
        self.chains.iter().find(|(it, _)| it == name).map(|(_, chain)| chain)
    }

    /// Loads the table, whatever is there before, and removes the chains and counters named `gone`.
    pub fn whole<'a>(&self, gone: impl Iterator<Item = &'a String>) -> String {
        let (family, name) = self.name;
        let mut text = format!("table {family} {name} {{\n");
        self.declare(&mut text, &self.counters, self.chains.iter().map(|(name, _)| name));
        let framed: BTreeSet<_> = self.frame.iter().filter_map(Declared::set).collect();
        let sets = self.sets.iter().filter(|set| !framed.contains(set.name.as_str()));
        for Set { name, keyword, kind, .. } in sets {
            let _ = writeln!(text, "  {keyword} {name} {{ {kind}; }}");
        }
        self.push_frame(&mut text);
        let _ = writeln!(text, "}}\nflush table {family} {name}");
        for set in self.sets.iter().filter(|set| !set.counts) {
            let _ = writeln!(text, "flush {} {family} {name} {}", set.keyword, set.name);
        }
        for it in gone {
            // No rule refers to it any more.
            let _ = writeln!(text, "delete chain {family} {name} {it}");
            let _ = writeln!(text, "delete counter {family} {name} {it}");
        }
        let _ = writeln!(text, "table {family} {name} {{");
        for Set { name, keyword, kind, elements, .. } in &self.sets {
            let _ = write!(text, "  {keyword} {name} {{ {kind};");
            if !elements.is_empty() {
                text += " elements = { ";
                push_list(&mut text, elements);
                text += " }";
            }
            text += " }\n";
        }
        for chain in &self.chains {
            push(&mut text, chain);
        }
        text += "}\n";
        text
    }

    /// Changes the table from `before` to this one. `None`: it is another table, or its sets
    /// differ.
    pub fn change(&self, before: &Self) -> Option<String> {
        let sets = || self.sets.iter().zip(&before.sets);
        let is_like = |(a, b): (&Set, &Set)| (&a.name, &a.kind) == (&b.name, &b.kind);
        if self.name != before.name || self.sets.len() != before.sets.len() || !sets().all(is_like)
        {
            return None;
        }
        let (family, name) = self.name;
        let added = self.counters.difference(&before.counters).cloned().collect();
        let old: BTreeMap<_, _> = before.chains.iter().map(|(name, chain)| (name, chain)).collect();
        let is_changed = |(name, chain): &&(String, NftChain)| old.get(name) != Some(&chain);
        let changed: Vec<_> = self.chains.iter().filter(is_changed).collect();
        let new = changed.iter().map(|(name, _)| name).filter(|name| !old.contains_key(name));

        let mut declared = String::new();
        self.declare(&mut declared, &added, new);
        let mut text = String::new();
        if self.frame != before.frame {
            self.push_frame(&mut declared);
        }
        if !declared.is_empty() {
            let _ = write!(text, "table {family} {name} {{\n{declared}}}\n");
        }
        for (chain, _) in changed.iter().filter(|(name, _)| old.contains_key(name)) {
            let _ = writeln!(text, "flush chain {family} {name} {chain}");
        }
        for (set, was) in sets().filter(|(set, was)| set.elements != was.elements) {
            let [now, then] = [set, was].map(|it| it.elements.iter().collect::<HashSet<_>>());
            for (verb, of, others, is_wanted) in
                [("delete", was, &now, !set.counts), ("add", set, &then, true)]
            {
                let some = of.elements.iter().filter(|it| is_wanted && !others.contains(it));
                let mut some = some.peekable();
                if some.peek().is_some() {
                    let _ = write!(text, "{verb} element {family} {name} {} {{ ", set.name);
                    push_list(&mut text, some);
                    text += " }\n";
                }
            }
        }
        if !changed.is_empty() {
            let _ = writeln!(text, "table {family} {name} {{");
            changed.into_iter().for_each(|chain| push(&mut text, chain));
            text += "}\n";
        }
        let kept: BTreeSet<_> = self.chains.iter().map(|(name, _)| name).collect();
        for chain in old.into_keys().filter(|name| !kept.contains(name)) {
            let _ = writeln!(text, "delete chain {family} {name} {chain}");
        }
        for counter in before.counters.difference(&self.counters) {
            let _ = writeln!(text, "delete counter {family} {name} {counter}");
        }
        Some(text)
    }

    fn declare<'a>(
        &self,
        text: &mut String,
        counters: &BTreeSet<String>,
        chains: impl Iterator<Item = &'a String>,
    ) {
        for counter in counters {
            let _ = writeln!(text, "  counter {counter} {{ }}");
        }
        let framed: BTreeSet<_> = self.frame.iter().filter_map(Declared::chain).collect();
        for chain in chains.filter(|chain| !framed.contains(chain.as_str())) {
            let _ = writeln!(text, "  chain {chain} {{ }}");
        }
    }

    fn push_frame(&self, text: &mut String) {
        for it in &self.frame {
            let _ = write!(text, "{it}");
        }
    }
}

fn push(text: &mut String, (name, rules): &(String, NftChain)) {
    let _ = write!(text, "  chain {name} {{\n{rules}  }}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::chain::Hook;

    /// An element for each port, and a chain that names the last of them.
    fn table(ports: &[u16]) -> NftTable {
        let name = |port: &u16| format!("line_{port}");
        let element = |port: &u16| format!("{port} : goto {}", name(port));
        let rules = |port: &u16| (name(port), NftChain::from(["accept"]));
        let all = ports.iter().map(|port| [format!("tcp dport {port} accept")].into()).next_back();
        NftTable {
            name: ("inet", "t"),
            frame: vec![Declared::Base("input", Hook::filter("input", "drop"))],
            counters: ports.iter().map(name).collect(),
            sets: vec![
                Set {
                    name: "seen".into(),
                    keyword: "set",
                    kind: "type inet_service; counter".into(),
                    counts: true,
                    elements: ports.iter().map(ToString::to_string).collect(),
                },
                Set {
                    name: "ports".into(),
                    keyword: "map",
                    kind: "type inet_service : verdict".into(),
                    counts: false,
                    elements: ports.iter().map(element).collect(),
                },
            ],
            chains: all
                .map(|all| ("input".into(), all))
                .into_iter()
                .chain(ports.iter().map(rules))
                .collect(),
        }
    }

    #[test]
    fn what_stays_is_not_touched() {
        assert_eq!(table(&[1, 2]).change(&table(&[1, 2])).unwrap(), "");
        let change = table(&[1, 3, 9]).change(&table(&[1, 2, 9])).unwrap();
        let lines: Vec<_> = change.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "table inet t {",
                "counter line_3 { }",
                "chain line_3 { }",
                "}",
                // An element with a counter is never removed.
                "add element inet t seen { 3 }",
                "delete element inet t ports { 2 : goto line_2 }",
                "add element inet t ports { 3 : goto line_3 }",
                "table inet t {",
                "chain line_3 {",
                "accept",
                "}",
                "}",
                "delete chain inet t line_2",
                "delete counter inet t line_2",
            ]
        );
        // The rules of a chain are replaced together.
        let change = table(&[1]).change(&table(&[1, 2])).unwrap();
        assert!(change.contains("flush chain inet t input\n"), "{change}");
        assert!(change.contains("  chain input {\n    tcp dport 1 accept\n  }\n"), "{change}");
        assert!(!change.contains("line_1"), "{change}");
        // The set is flushed and filled again.
        for (now, before, verb) in [(&[][..], &[7][..], "delete"), (&[7], &[], "add")] {
            let change = table(now).change(&table(before)).unwrap();
            let element = format!("{verb} element inet t ports {{ 7 : goto line_7 }}\n");
            assert!(change.contains(&element), "{change}");
        }
        let mut other = table(&[1]);
        other.sets[1].kind = "type mark : verdict".into();
        assert_eq!(table(&[1]).change(&other), None);
    }

    #[test]
    fn whatever_stood_there_before() {
        let gone = ["line_7".to_owned()];
        let text = table(&[1]).whole(gone.iter());
        let order = [
            "chain line_1 { }",
            "flush table inet t\n",
            "flush map inet t ports\n",
            "delete chain inet t line_7\n",
            "delete counter inet t line_7\n",
            "elements = { 1 : goto line_1 }",
            "chain line_1 {\n    accept\n  }\n",
        ];
        let found: Vec<_> = order.iter().map(|it| text.find(it).unwrap_or(usize::MAX)).collect();
        assert!(found.is_sorted() && found[6] < text.len(), "{found:?}\n{text}");
        assert!(!text.contains("flush set inet t seen"), "{text}");
    }
}
