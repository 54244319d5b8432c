//! The file names of copies. A copy changes its state by an atomic rename.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyState {
    /// Undone, or never confirmed.
    Undone,
    /// Active until it is confirmed or times out.
    Trying,
    Confirmed,
}

impl CopyState {
    const ALL: [Self; 3] = [Self::Undone, Self::Trying, Self::Confirmed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Undone => "undone",
            Self::Trying => "trying",
            Self::Confirmed => "confirmed",
        }
    }
}

/// The file name of a copy: `SEQUENCE.STANDING`, the sequence in 20 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyName {
    /// The sequence number, from 1.
    pub sequence: u64,
    pub state: CopyState,
}

impl CopyName {
    /// Parses a name; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, state) = text.split_once('.')?;
        let digits = sequence.len() == 20 && sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = digits.then(|| sequence.parse().ok())?.filter(|sequence| *sequence > 0)?;
        let state = CopyState::ALL.into_iter().find(|known| known.name() == state)?;
        Some(Self { sequence, state })
    }
}

impl fmt::Display for CopyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}.{}", self.sequence, self.state.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_one_text() {
        let name = CopyName::parse("00000000000000000012.trying").unwrap();
        assert_eq!((name.sequence, name.state), (12, CopyState::Trying));
        for bad in [
            "12.trying",
            "00000000000000000012",
            "00000000000000000012.tried",
            "00000000000000000012.trying.new",
            "+0000000000000000012.trying",
            "00000000000000000000.confirmed",
            "99999999999999999999.confirmed",
            "",
        ] {
            assert_eq!(CopyName::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(sequence in 1u64.., state in 0usize..3, text in "[0-9]{18,21}[.a-z]{0,10}") {
            let name = CopyName { sequence, state: CopyState::ALL[state] };
            prop_assert_eq!(CopyName::parse(&name.to_string()), Some(name));
            if let Some(name) = CopyName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
