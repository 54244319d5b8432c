//! Identifies a node of a box: a board by its number, or the router.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// The router's name in places where a board has its number.
const ROUTER: &str = "router";

/// A board, 1 to 32, or the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardId(u8);

/// Neither a board nor the router.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a board, 1 to {most}, nor `router`", most = BoardId::MAX)]
pub struct InvalidBoardId(String);

impl BoardId {
    /// The highest board number.
    pub const MAX: u8 = 32;

    pub const ROUTER: Self = Self(0);

    /// The board of this number, if it is in range.
    pub fn board(number: u64) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The board's number; 0 is the router.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for BoardId {
    type Err = InvalidBoardId;

    fn from_str(text: &str) -> Result<Self, InvalidBoardId> {
        match text.parse().ok().and_then(Self::board) {
            _ if text == ROUTER => Ok(Self::ROUTER),
            Some(board) => Ok(board),
            None => Err(InvalidBoardId(text.to_owned())),
        }
    }
}

/// In words: `board 3`, `the router`.
impl fmt::Display for BoardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("the router"),
            number => write!(f, "board {number}"),
        }
    }
}

impl<'de> Deserialize<'de> for BoardId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Said;

        impl Visitor<'_> for Said {
            type Value = BoardId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 1 to {} or \"{ROUTER}\"", BoardId::MAX)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<BoardId, E> {
                let board = u64::try_from(number).ok().and_then(BoardId::board);
                board.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<BoardId, E> {
                let router = (text == ROUTER).then_some(BoardId::ROUTER);
                router.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_of_a_box() {
        let said = |text: &str| text.parse::<BoardId>();
        assert_eq!(said("3").map(BoardId::number), Ok(3));
        assert_eq!(said("router"), Ok(BoardId::ROUTER));
        for bad in ["0", "33", "-1", "x", "", "Router", "300"] {
            assert_eq!(said(bad), Err(InvalidBoardId(bad.into())), "{bad}");
        }
        assert_eq!(BoardId::ROUTER.to_string(), "the router");
        assert_eq!(BoardId(3).to_string(), "board 3");
    }
}
