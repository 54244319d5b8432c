//! Checks across all units of an image, and their start order.

mod addresses;
mod privileges;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::INIT;
use crate::document::span_of;
use crate::file_error::{FileError, nearest};
use crate::name::{ModuleName, UnitName};
use crate::unit::{ReferenceSpans, Unit, UnitType};

/// A unit with its text, so that mistakes have a position.
#[derive(Debug, Clone)]
pub struct UnitSource {
    /// The file, as given by the user.
    pub file: String,
    pub text: String,
    pub unit: Unit,
    /// Whether it is the owner's, who has fewer rights than Octet's own units.
    pub owner_supplied: bool,
    spans: ReferenceSpans,
}

impl UnitSource {
    /// Parses `text`, the content of `file`.
    pub fn parse(file: String, text: String) -> Result<Self, Box<FileError>> {
        let (unit, spans) = Unit::parse(&file, &text)?;
        Ok(Self { file, text, unit, owner_supplied: false, spans })
    }

    /// Adds a need to those of the file.
    pub fn add_need(&mut self, name: UnitName) {
        // Positions are in the order of `needs`, followed by `after`.
        self.spans.units.insert(self.unit.needs.len(), 0..0);
        self.unit.needs.push(name);
    }

    /// Adds a unit that this one is ordered after to those of the file.
    pub fn add_after(&mut self, name: UnitName) {
        self.spans.units.push(0..0);
        self.unit.after.push(name);
    }

    /// Every unit that this one waits for, with its position in the text.
    fn edges(&self) -> impl Iterator<Item = (&UnitName, Range<usize>)> {
        self.unit.needs.iter().chain(&self.unit.after).zip(self.spans.units.iter().cloned())
    }

    /// Every kernel module that the unit uses, with its position in the text.
    pub fn modules(&self) -> impl Iterator<Item = (&ModuleName, Range<usize>)> {
        self.unit.modules.iter().zip(self.spans.modules.iter().cloned())
    }

    /// Every kernel module that the unit uses only on a router, with its position in the text.
    pub fn router_modules(&self) -> impl Iterator<Item = (&ModuleName, Range<usize>)> {
        let spans = self.spans.modules.iter().skip(self.unit.modules.len());
        self.unit.router_modules.iter().zip(spans.cloned())
    }

    /// A mistake at the value of the last of `keys`, each of which is in the table before it.
    fn error_at(&self, keys: &[&str], message: String, hint: &str) -> Box<FileError> {
        self.error(span_of(&self.text, keys), message, hint.into())
    }

    /// A mistake at the byte range `at` of the unit file.
    pub fn error(&self, at: Range<usize>, message: String, hint: String) -> Box<FileError> {
        FileError::new(&self.file, &self.text, at, message, hint)
    }
}

/// Checks that names, users, addresses and dependencies of `units` are consistent, and returns the
/// units' indices in an order in which each comes after all it needs.
///
/// # Errors
/// A duplicate name, user or address, a missing needed unit, a cycle (printed completely), or a
/// unit with more rights than its author may give it.
pub fn start_order(units: &[UnitSource]) -> Result<Vec<usize>, Box<FileError>> {
    let mut by_name = BTreeMap::new();
    let mut by_uid = BTreeMap::new();
    for (index, source) in units.iter().enumerate() {
        privileges::check(source)?;
        let unit = &source.unit;
        if let Some(other) = by_name.insert(unit.name.as_str(), index) {
            return Err(source.error(
                0..0,
                format!("unit `{}` is there twice, also in {}", unit.name, units[other].file),
                "give one of them another name".into(),
            ));
        }
        let user = unit.user.user();
        // Only PID 1's own program may run as root.
        if unit.unit_type != UnitType::Target
            && user.uid != 0
            && let Some(other) = by_uid.insert(user.uid, index)
        {
            return Err(source.error_at(
                &["user"],
                format!("user `{}` is also that of unit `{}`", user.name, units[other].unit.name),
                "give each unit a user of its own, so that none can touch another's files",
            ));
        }
    }
    for source in units {
        for (need, place) in source.edges().take(source.unit.needs.len()) {
            let wanted = need.as_str();
            if !by_name.contains_key(wanted) {
                let near = nearest(wanted, by_name.keys().copied()).join(", ");
                return Err(source.error(
                    place,
                    format!(
                        "unit `{}` needs `{wanted}`, which is not in the image",
                        source.unit.name
                    ),
                    if near.is_empty() {
                        "add the unit, or remove the need".into()
                    } else {
                        format!("the nearest names are: {near}")
                    },
                ));
            }
        }
    }
    for source in units {
        for wanted in source.unit.talks.keys().map(UnitName::as_str) {
            let is_optional = source.unit.optional.iter().any(|name| name.as_str() == wanted);
            if wanted != INIT && !is_optional && !by_name.contains_key(wanted) {
                let known = by_name.keys().copied().chain([INIT]);
                let hint = match nearest(wanted, known)[..] {
                    [] => "add the unit, or remove the line".into(),
                    [best, ..] => format!("did you mean `{best}`?"),
                };
                let name = &source.unit.name;
                let message =
                    format!("unit `{name}` talks to `{wanted}`, which is not in the image");
                return Err(source.error_at(&["talks", wanted], message, &hint));
            }
        }
    }
    addresses::check(units)?;
    addresses::check_reachable(units)?;
    Walk {
        units,
        by_name: &by_name,
        state: vec![State::New; units.len()],
        path: vec![],
        order: vec![],
    }
    .run()
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Visiting,
    Done,
}

/// Depth-first search; a unit met again on the current path closes a cycle.
struct Walk<'a> {
    units: &'a [UnitSource],
    by_name: &'a BTreeMap<&'a str, usize>,
    state: Vec<State>,
    path: Vec<usize>,
    order: Vec<usize>,
}

impl Walk<'_> {
    fn run(mut self) -> Result<Vec<usize>, Box<FileError>> {
        for index in 0..self.units.len() {
            self.visit(index)?;
        }
        Ok(self.order)
    }

    fn visit(&mut self, index: usize) -> Result<(), Box<FileError>> {
        if self.state[index] != State::New {
            return Ok(());
        }
        self.state[index] = State::Visiting;
        self.path.push(index);
        let source = &self.units[index];
        for (edge, place) in source.edges() {
            let Some(&next) = self.by_name.get(edge.as_str()) else {
                continue; // `after` a unit that is not in the image
            };
            if self.state[next] == State::Visiting {
                let start = self.path.iter().position(|&i| i == next).unwrap_or(0);
                let names: Vec<&str> = self.path[start..]
                    .iter()
                    .chain([&next])
                    .map(|&i| self.units[i].unit.name.as_str())
                    .collect();
                return Err(source.error(
                    place,
                    format!("units wait for each other: {}", names.join(" -> ")),
                    "remove one of these from `needs` or `after`".into(),
                ));
            }
            self.visit(next)?;
        }
        self.path.pop();
        self.state[index] = State::Done;
        self.order.push(index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(name: &str, user: usize, lines: &str) -> UnitSource {
        let text = format!(
            "name = \"{name}\"\nexec = \"/bin/{name}\"\nuser = \"extra-{user}\"\n{lines}\n"
        );
        UnitSource::parse(format!("{name}/unit.toml"), text).unwrap()
    }

    #[test]
    fn orders_by_need() {
        let units = [
            unit("a", 1, "needs = [\"b\"]"),
            unit("b", 2, "after = [\"c\", \"gone\"]"),
            unit("c", 3, ""),
        ];
        assert_eq!(start_order(&units).unwrap(), [2, 1, 0]);
    }

    #[test]
    fn prints_a_cycle() {
        let units = [
            unit("a", 1, "needs = [\"b\"]"),
            unit("b", 2, "after = [\"c\"]"),
            unit("c", 3, "needs = [\"a\"]"),
        ];
        let error = start_order(&units).unwrap_err();
        assert!(error.message.contains("a -> b -> c -> a"), "{error}");
        assert_eq!((error.file.as_str(), error.line), ("c/unit.toml", 4));
    }

    #[test]
    fn names_what_is_missing_or_taken() {
        let error =
            start_order(&[unit("a", 1, "needs = [\"hallo\"]"), unit("hello", 2, "")]).unwrap_err();
        assert!(error.message.contains("needs `hallo`") && error.hint.contains("hello"), "{error}");
        assert!(
            start_order(&[unit("a", 1, ""), unit("a", 2, "")])
                .unwrap_err()
                .message
                .contains("twice")
        );
        assert!(
            start_order(&[unit("a", 1, ""), unit("b", 1, "")])
                .unwrap_err()
                .message
                .contains("extra-1")
        );
    }

    #[test]
    fn two_units_have_two_addresses() {
        let web = |name: &str, user, port: &str| unit(name, user, &format!("ports.web = {port:?}"));
        let units = [web("a", 1, "tcp/80"), web("b", 2, "udp/80"), web("c", 3, "tcp/81")];
        assert!(start_order(&units).is_ok());
        let units = [web("a", 1, "tcp/80"), web("b", 2, "udp/80"), web("c", 3, "tcp/80")];
        let error = start_order(&units).unwrap_err();
        assert!(error.message.contains("`a`") && error.message.contains("`c`"), "{error}");
        assert_eq!((error.file.as_str(), error.line, error.column), ("c/unit.toml", 4, 13));

        // A file cannot name another unit's path; the check does not rely on that.
        let mut b = unit("b", 2, "sockets.s.path = \"/run/octet/b.sock\"");
        let a = unit("a", 1, "sockets.s.path = \"/run/octet/a.sock\"");
        assert!(start_order(&[a.clone(), b.clone()]).is_ok());
        b.unit.sockets = a.unit.sockets.clone();
        let error = start_order(&[a, b]).unwrap_err();
        assert!(error.message.contains("/run/octet/a.sock is also that of unit `a`"), "{error}");
        assert_eq!((error.file.as_str(), error.line), ("b/unit.toml", 4));
    }

    #[test]
    fn units_talk_to_units_that_are_there() {
        let talker = |whom: &str| unit("a", 1, &format!("talks.{whom} = [\"status\"]"));
        for good in ["init", "hello", "a"] {
            assert!(start_order(&[talker(good), unit("hello", 2, "")]).is_ok(), "{good}");
        }
        for (bad, meant) in [("hallo", "`hello`"), ("inti", "`init`"), ("zz", "remove")] {
            let error = start_order(&[talker(bad), unit("hello", 2, "")]).unwrap_err();
            assert!(error.hint.contains(meant), "{error} {}", error.hint);
            assert_eq!((error.file.as_str(), error.line), ("a/unit.toml", 4));
        }
        let does_without =
            |whom| unit("a", 1, &format!("optional = [\"{whom}\"]\ntalks.zz = [\"status\"]"));
        assert!(start_order(&[does_without("zz")]).is_ok());
    }

    #[test]
    fn units_reach_ports_that_are_there() {
        let from = |line: &str| unit("a", 1, &format!("sandbox.network = \"host\"\n{line}"));
        let web = unit("web", 2, "ports.http = \"tcp/80\"\nsandbox.network = \"host\"");
        let good = from("reaches.web = [\"http\"]");
        assert!(start_order(&[good, web.clone()]).is_ok());
        for (bad, meant) in [
            ("reaches.wev = [\"http\"]", "`web`"),
            ("reaches.web = [\"htpt\"]", "`http`"),
            ("reaches.web = [\"zz\"]", "remove"),
        ] {
            let error = start_order(&[from(bad), web.clone()]).unwrap_err();
            assert!(error.hint.contains(meant), "{error} {}", error.hint);
            assert_eq!((error.file.as_str(), error.line), ("a/unit.toml", 5));
        }
    }

    proptest! {
        /// Needs that refer only to lower numbers have no cycle; the order found must respect every
        /// one of them.
        #[test]
        fn every_need_comes_first(edges in prop::collection::vec((0usize..8, 0usize..8), 0..20)) {
            let units: Vec<_> = (0..8).map(|i| {
                let needs: Vec<_> = edges.iter().filter(|(a, b)| *a == i && b < a)
                    .map(|(_, b)| format!("\"u{b}\"")).collect();
                unit(&format!("u{i}"), i + 1, &format!("needs = [{}]", needs.join(", ")))
            }).collect();
            let order = start_order(&units).unwrap();
            prop_assert_eq!(order.len(), 8);
            let place = |i| order.iter().position(|&o| o == i);
            for (a, b) in edges.iter().filter(|(a, b)| b < a) {
                prop_assert!(place(*b) < place(*a));
            }
        }
    }
}
