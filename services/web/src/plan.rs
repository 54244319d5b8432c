//! The lines of `netd plan` as rules between zones. Pure. What a rule is for is the box's to say (`netd explain`); this only
//! finds which lines name a pair of zones.

use std::fmt;

use crate::nodes::LAST_BOARD;

/// How lines of published ports begin.
const PUBLISH: &str = "publish ";

/// An end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanZone {
    Board(u8),
    Router,
    Lan,
    Uplink,
    Path,
}

/// A line of the plan that says `FROM, FROM to TO: what`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRule {
    /// Its name, for example `policy 1`.
    pub name: String,
    from: Vec<String>,
    to: Vec<String>,
    /// The whole line.
    pub line: String,
}

impl PlanZone {
    /// The zone of a letter or a number, as links in the matrix have it.
    pub fn from_short(text: &str) -> Option<Self> {
        Some(match text {
            "r" => Self::Router,
            "l" => Self::Lan,
            "u" => Self::Uplink,
            "p" => Self::Path,
            number => {
                Self::Board(number.parse().ok().filter(|number| (1..=LAST_BOARD).contains(number))?)
            }
        })
    }

    pub fn short(self) -> String {
        match self {
            Self::Board(number) => number.to_string(),
            Self::Router => "r".to_owned(),
            Self::Lan => "l".to_owned(),
            Self::Uplink => "u".to_owned(),
            Self::Path => "p".to_owned(),
        }
    }

    /// Whether the plan's word `name` is this zone, or may be: a board may have any role.
    fn is_named(self, name: &str) -> bool {
        let is_board = matches!(self, Self::Board(_));
        name == self.to_string() || is_board && (name == "boards" || name.starts_with("role:"))
    }
}

impl fmt::Display for PlanZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board(number) => write!(f, "board-{number}"),
            Self::Router => f.write_str("router"),
            Self::Lan => f.write_str("lan"),
            Self::Uplink => f.write_str("uplink"),
            Self::Path => f.write_str("path"),
        }
    }
}

impl std::str::FromStr for PlanZone {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "router" => Ok(Self::Router),
            "lan" => Ok(Self::Lan),
            "uplink" => Ok(Self::Uplink),
            "path" => Ok(Self::Path),
            _ => {
                let number = text.strip_prefix("board-").ok_or(())?;
                Self::from_short(number).filter(|zone| zone.to_string() == text).ok_or(())
            }
        }
    }
}

impl PlanRule {
    /// The rule of a line; `None` if the line is about something else than a pair of zones.
    pub fn parse(line: &str) -> Option<Self> {
        if let Some(published) = Self::published(line) {
            return Some(published);
        }
        let (ends, _) = line.split_once(": ")?;
        let (from, to) = ends.split_once(" to ")?;
        let list =
            |list: &str| list.split(", ").map(|zone| zone.trim().to_owned()).collect::<Vec<_>>();
        let mut from = list(from);
        // The name of the rule is before the first zone.
        let (name, zone) = from.first()?.rsplit_once(' ')?;
        let (name, zone) = (name.trim().to_owned(), zone.to_owned());
        *from.first_mut()? = zone;
        Some(Self { name, from, to: list(to), line: line.to_owned() })
    }

    /// The rule of a line `publish N PORT to board-N PORT`: it is for flows from the uplink.
    fn published(line: &str) -> Option<Self> {
        let (ends, board) = line.strip_prefix(PUBLISH)?.split_once(" to ")?;
        let number = ends.trim().split(' ').next()?;
        let board: PlanZone = board.split(' ').next()?.parse().ok()?;
        let (from, to) = (vec![PlanZone::Uplink.to_string()], vec![board.to_string()]);
        Some(Self { name: format!("{PUBLISH}{number}"), from, to, line: line.to_owned() })
    }

    /// Whether the rule names both zones.
    pub fn is_about(&self, from: PlanZone, to: PlanZone) -> bool {
        let names = |list: &[String], zone: PlanZone| list.iter().any(|name| zone.is_named(name));
        names(&self.from, from) && names(&self.to, to)
    }
}

/// The zones of a plan: its boards, and those that every box has.
pub fn zones(lines: &[String]) -> Vec<PlanZone> {
    let first_words = lines.iter().filter_map(|line| line.split(' ').next());
    let mut boards: Vec<PlanZone> = first_words
        .filter_map(|word| word.parse().ok())
        .filter(|zone| matches!(zone, PlanZone::Board(_)))
        .collect();
    boards.sort();
    boards.dedup();
    boards.extend([PlanZone::Router, PlanZone::Lan, PlanZone::Uplink]);
    boards
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rules_name_pairs() {
        let policy =
            PlanRule::parse("policy 1     board-1, board-2 to lan, uplink: tcp 80, 443").unwrap();
        assert_eq!(policy.name, "policy 1");
        let (one, three) = (PlanZone::Board(1), PlanZone::Board(3));
        assert!(
            policy.is_about(one, PlanZone::Lan)
                && policy.is_about(PlanZone::Board(2), PlanZone::Uplink)
        );
        assert!(!policy.is_about(three, PlanZone::Lan) && !policy.is_about(PlanZone::Lan, one));
        let relay = PlanRule::parse("relay        router to boards: tcp 4040").unwrap();
        assert!(
            relay.is_about(PlanZone::Router, three)
                && !relay.is_about(PlanZone::Router, PlanZone::Lan)
        );
        let role =
            PlanRule::parse("policy 2     role:web to uplink: service dns, 5 in a second").unwrap();
        assert!(
            role.is_about(three, PlanZone::Uplink)
                && !role.is_about(PlanZone::Router, PlanZone::Uplink)
        );
        let published = PlanRule::parse("publish 1    tcp/80 to board-3 tcp/8080").unwrap();
        assert_eq!(published.name, "publish 1");
        assert!(
            published.is_about(PlanZone::Uplink, three)
                && !published.is_about(PlanZone::Uplink, one)
        );
        for other in [
            "board-1      eth1, 10.20.1.1/24, fd00::1/64, port 1, whoever asks for an address",
            "uplink       eth0",
            "",
        ] {
            assert_eq!(PlanRule::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_plan_has_its_boards_and_the_three_others() {
        let lines =
            ["uplink       eth0", "board-2      eth2", "board-1      eth1", "lan          eth3"]
                .map(str::to_owned);
        let zones = zones(&lines);
        assert_eq!(zones[..2], [PlanZone::Board(1), PlanZone::Board(2)]);
        assert_eq!(zones.len(), 5);
        for zone in zones {
            assert_eq!(PlanZone::from_short(&zone.short()), Some(zone));
            assert_eq!(zone.to_string().parse(), Ok(zone));
        }
        assert!("board-33".parse::<PlanZone>().is_err() && "board-01".parse::<PlanZone>().is_err());
    }

    proptest! {
        #[test]
        fn any_line_can_be_read(line: String, name in "[a-z 0-9]{0,12}", from in "[a-z, :-]{0,20}", to in "[a-z, -]{0,20}") {
            let _ = PlanRule::parse(&line);
            let _ = PlanRule::parse(&format!("{name} {from} to {to}: x"));
            let _ = line.parse::<PlanZone>();
            if let Some(zone) = PlanZone::from_short(&line) {
                prop_assert_eq!(zone.to_string().parse(), Ok(zone));
            }
        }
    }
}
