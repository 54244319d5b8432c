//! Names of boot loader entries with counters (Boot Loader Specification, "Boot counting"):
//! `octet-SLOT.conf`, `octet-SLOT+LEFT.conf`, `octet-SLOT+LEFT-DONE.conf`.

use std::fmt;

use crate::text::SlotName;

/// A slot's state, from the name of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// It became ready once; its tries are not counted.
    Good,
    Trying {
        /// Remaining tries. A slot with none is booted only if there is no other.
        left: u32,
        /// Tries so far.
        done: u32,
    },
}

/// The name of one of our entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// The slot that it boots.
    pub slot: SlotName,
    pub state: SlotState,
}

impl EntryName {
    /// The entry of `slot` without a counter.
    pub fn good(slot: &SlotName) -> Self {
        Self { slot: slot.clone(), state: SlotState::Good }
    }

    /// The entry of `slot` with `left` tries.
    pub fn with_tries(slot: &SlotName, left: u32) -> Self {
        Self { slot: slot.clone(), state: SlotState::Trying { left, done: 0 } }
    }

    /// Parses the name of a file; `None` if it is not one of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("octet-")?.strip_suffix(".conf")?;
        let (slot, counter) = match rest.split_once('+') {
            Some((slot, counter)) => (slot, Some(counter)),
            None => (rest, None),
        };
        let state = match counter {
            None => SlotState::Good,
            Some(counter) => {
                let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
                SlotState::Trying { left: number(left)?, done: number(done)? }
            }
        };
        Some(Self { slot: slot.parse().ok()?, state })
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = &self.slot;
        match self.state {
            SlotState::Good => write!(f, "octet-{slot}.conf"),
            SlotState::Trying { left, done: 0 } => write!(f, "octet-{slot}+{left}.conf"),
            SlotState::Trying { left, done } => write!(f, "octet-{slot}+{left}-{done}.conf"),
        }
    }
}

/// Digits only: `parse` would also accept a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_names() {
        let slot: SlotName = "0.1.0-1a2b".parse().unwrap();
        let of = |name| {
            let name = EntryName::parse(name)?;
            assert_eq!(name.slot, slot);
            Some(name.state)
        };
        assert_eq!(of("octet-0.1.0-1a2b.conf"), Some(SlotState::Good));
        assert_eq!(of("octet-0.1.0-1a2b+3.conf"), Some(SlotState::Trying { left: 3, done: 0 }));
        assert_eq!(of("octet-0.1.0-1a2b+0-3.conf"), Some(SlotState::Trying { left: 0, done: 3 }));
        for other in [
            "octet-.conf",
            "octet-0.1.0-1a2b+.conf",
            "octet-0.1.0-1a2b++1.conf",
            "octet-0.1.0-1a2b+1-.conf",
            "octet-0.1.0-1a2b+1",
            "octet-0.1.0-1a2b.conf.new",
            "other-0.1.0-1a2b.conf",
        ] {
            assert_eq!(EntryName::parse(other), None, "{other}");
        }
        assert_eq!(EntryName::good(&slot).to_string(), "octet-0.1.0-1a2b.conf");
        assert_eq!(EntryName::with_tries(&slot, 3).to_string(), "octet-0.1.0-1a2b+3.conf");
    }

    proptest! {
        #[test]
        fn any_name_is_read_or_refused(name in "\\PC{0,40}", left: u32, done: u32) {
            let _ = EntryName::parse(&name);
            let _ = EntryName::parse(&format!("octet-{name}.conf"));
            let state = SlotState::Trying { left, done };
            let name = EntryName { slot: "1".parse().unwrap(), state };
            prop_assert_eq!(EntryName::parse(&name.to_string()), Some(name));
        }
    }
}
