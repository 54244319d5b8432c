//! The placement from `[[board]] services`: which units run on some boards only. A unit that no
//! board names runs on every node of the box.

use std::collections::BTreeMap;

use crate::INIT_PROGRAM;
use crate::cluster::Board;
use crate::document::span_of;
use crate::file_error::{FileError, nearest};
use crate::name::UnitName;
use crate::unit::{Unit, UnitType};

/// Each unit that boards name, with the numbers of those boards in order.
pub type PlacedUnits = BTreeMap<UnitName, Vec<u8>>;

impl Unit {
    /// Why it cannot run on some boards only, if so.
    pub fn unplaceable_reason(&self) -> Option<&'static str> {
        let is_pid_1s = || self.exec.as_ref().is_some_and(|exec| exec.as_str() == INIT_PROGRAM);
        match self.unit_type {
            _ if self.base => Some("is a base unit: no node is ready without it"),
            UnitType::Target => Some("is a target: it has nothing to run"),
            _ if is_pid_1s() => Some("is PID 1's own: every node runs it"),
            UnitType::Daemon | UnitType::OneShot => None,
        }
    }
}

/// The placement of `units`, all of one image, according to `boards`. `boards` were read from
/// `text`, the content of `file`.
///
/// # Errors
/// An unknown unit, one that must run everywhere, or one that another unit needs on a board where
/// it does not run.
pub fn placement<'a>(
    boards: &[Board],
    units: impl Iterator<Item = &'a Unit> + Clone,
    (file, text): (&str, &str),
) -> Result<PlacedUnits, Box<FileError>> {
    let wrong = |(board, nth): (usize, usize), message: String, hint: String| {
        let at = span_of(text, &["board", &board.to_string(), "services", &nth.to_string()]);
        FileError::new(file, text, at, message, hint)
    };
    let mut placed = PlacedUnits::new();
    // Where a unit is named: the index of the board in the file, and that of the unit in its list.
    let mut places = BTreeMap::new();
    for (index, board) in boards.iter().enumerate() {
        for (nth, name) in board.services.iter().enumerate() {
            let at = (index, nth);
            let Some(unit) = units.clone().find(|unit| unit.name == *name) else {
                let movable = units.clone().filter(|unit| unit.unplaceable_reason().is_none());
                let hint = match nearest(name.as_str(), movable.map(|unit| unit.name.as_str()))[..]
                {
                    [] => "name a unit of this image that is not a base unit".to_owned(),
                    [best, ..] => format!("did you mean `{best}`?"),
                };
                return Err(wrong(at, format!("this image has no unit `{name}`"), hint));
            };
            if let Some(why) = unit.unplaceable_reason() {
                let hint = "leave it out: it runs on every node".to_owned();
                return Err(wrong(at, format!("`{name}` {why}"), hint));
            }
            placed.entry(name.clone()).or_default().push(board.number);
            places.insert((name.clone(), board.number), at);
        }
    }
    placed.values_mut().for_each(|numbers| numbers.sort_unstable());
    for unit in units {
        for need in &unit.needs {
            let Some(there) = placed.get(need) else { continue };
            let name = &unit.name;
            let Some(numbers) = placed.get(name) else {
                let first = places.get(&(need.clone(), there[0])).copied().unwrap_or_default();
                let message = format!("unit `{name}` needs `{need}`, and runs on every node");
                let hint = match unit.unplaceable_reason() {
                    None => format!("name `{name}` beside it, or neither of them"),
                    Some(_) => format!("leave `{need}` out, here or where `{name}` needs it"),
                };
                return Err(wrong(first, message, hint));
            };
            if let Some(number) = numbers.iter().find(|number| !there.contains(number)) {
                let at = places.get(&(name.clone(), *number)).copied().unwrap_or_default();
                let message =
                    format!("unit `{name}` needs `{need}`, which does not run on board {number}");
                return Err(wrong(at, message, format!("name `{need}` beside it")));
            }
        }
    }
    Ok(placed)
}

/// Boards in words: `board 3`, `boards 3, 4`.
pub fn format_boards(numbers: &[u8]) -> String {
    let list = numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    format!("board{} {list}", if numbers.len() == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Appliance, UnitSource};

    const HEAD: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\n\
                        modules = []\nservices = []\n[cluster]\nboards = 4\n";

    fn units() -> Vec<Unit> {
        let unit = |name: &str, user, lines: &str| {
            let text =
                format!("name = \"{name}\"\nexec = \"/x\"\nuser = \"extra-{user}\"\n{lines}");
            UnitSource::parse("unit.toml".into(), text).unwrap().unit
        };
        let own =
            "name = \"mine\"\nexec = \"/proc/self/exe\"\nuser = \"root\"\ntype = \"one-shot\"\n";
        vec![
            unit("cache", 1, ""),
            unit("reader", 2, "needs = [\"cache\"]"),
            unit("web", 3, "after = [\"cache\"]"),
            unit("door", 4, "base = true"),
            UnitSource::parse("unit.toml".into(), own.into()).unwrap().unit,
        ]
    }

    fn of(boards: &str, units: &[Unit]) -> Result<PlacedUnits, Box<FileError>> {
        let text = format!("{HEAD}{boards}");
        let file = "appliance.toml";
        let appliance = Appliance::parse(file, &text)?;
        placement(&appliance.board, units.iter(), (file, &text))
    }

    const GOOD: &str = "[[board]]\nnumber = 4\nservices = [\"cache\"]\n\
                        [[board]]\nnumber = 3\nservices = [\"web\", \"cache\", \"reader\"]\n";

    #[test]
    fn boards_of_units() {
        let placed = of(GOOD, &units()).unwrap();
        let said: Vec<_> =
            placed.iter().map(|(name, boards)| (name.as_str(), &boards[..])).collect();
        assert_eq!(said, [("cache", &[3, 4][..]), ("reader", &[3]), ("web", &[3])]);
        assert!(of("", &units()).unwrap().is_empty());
        assert_eq!(format_boards(&[3]), "board 3");
        assert_eq!(format_boards(&[3, 4]), "boards 3, 4");
    }

    #[test]
    fn mistakes_are_placed() {
        for (from, to, line, words, hint) in [
            ("[\"cache\"]", "[\"cahce\"]", 12, "no unit `cahce`", "did you mean `cache`?"),
            ("[\"cache\"]", "[\"zzz\"]", 12, "no unit `zzz`", "not a base unit"),
            ("\"web\"", "\"door\"", 15, "`door` is a base unit", "leave it out"),
            ("\"web\"", "\"mine\"", 15, "`mine` is PID 1's own", "leave it out"),
            ("\"web\"", "\"cache\"", 15, "`cache` is there twice", "remove one"),
            (", \"reader\"", "", 15, "`reader` needs `cache`, and runs on every", "name `reader`"),
            (", \"cache\"", "", 15, "which does not run on board 3", "name `cache` beside it"),
        ] {
            let error = of(&GOOD.replacen(from, to, 1), &units()).unwrap_err();
            assert!(error.message.contains(words), "{from} {to}: {error}");
            assert!(error.hint.contains(hint), "{from} {to}: {}", error.hint);
            assert_eq!(error.line, line, "{from} {to}: {error}");
        }
        // A unit that cannot be placed needs one that is placed.
        let mut units = units();
        units[3].needs = vec!["web".to_owned().try_into().unwrap()];
        let error = of(GOOD, &units).unwrap_err();
        assert!(error.message.contains("`door` needs `web`"), "{error}");
        assert_eq!((error.line, error.column), (15, 13), "{error}");
        assert!(error.hint.contains("leave `web` out"), "{}", error.hint);
    }
}
