//! Zones: the sources and destinations of packets.

use std::fmt;
use std::str::FromStr;

/// A zone of the table "Zones and addresses".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// A board, by its number from 1 on.
    Board(u8),
    Router,
    Lan,
    Uplink,
    /// Packets from devices of the unit `forward`.
    Path,
}

impl fmt::Display for Zone {
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

impl FromStr for Zone {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "router" => return Ok(Self::Router),
            "lan" => return Ok(Self::Lan),
            "uplink" => return Ok(Self::Uplink),
            "path" => return Ok(Self::Path),
            _ => {}
        }
        let number = word.strip_prefix("board-").and_then(|number| number.parse().ok());
        let zone = number.map(Self::Board).filter(|zone| zone.to_string() == word);
        zone.ok_or_else(|| format!("`{word}` is no zone"))
    }
}
