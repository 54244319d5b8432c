//! Labels of label-switched paths (RFC 3032).

use std::fmt;

/// The lowest label that is not reserved (RFC 3032, 2.1).
const LOWEST: u32 = 16;

/// The highest: labels have 20 bits.
pub const HIGHEST: u32 = (1 << 20) - 1;

/// A label: 16 to 2^20 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(u32);

impl Label {
    /// `None` if it is reserved, or has more than 20 bits.
    pub fn new(label: u32) -> Option<Self> {
        (LOWEST..=HIGHEST).contains(&label).then_some(Self(label))
    }

    pub fn of_chance(random: u32) -> Self {
        Self(LOWEST + random % (HIGHEST - LOWEST + 1))
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn none_is_reserved(random: u32) {
            let label = Label::of_chance(random);
            prop_assert_eq!(Label::new(label.get()), Some(label));
            prop_assert_eq!(Label::new(random).is_some(), (16..1 << 20).contains(&random));
        }
    }
}
