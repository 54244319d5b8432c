//! What may come, how much of it, and what is counted: as changes of the sets' elements.

use super::element::{ElementChange, ElementRule};
use super::{BURST, Count, Direction, Meter};

const RATES: &str = "rates";

/// Bytes in a second of one kbit/s.
const KILOBIT: u64 = 125;

/// A change of what may come, and of what is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateChange {
    /// This is let, and counted. If it was not so far, its count begins with this.
    Let(Meter, Count),
    /// Of what is let this much may come, in kbit/s; 0: however much. What comes above it is dropped and counted
    /// by this meter, whose count begins with this if it was not there so far.
    Bound(Meter, u32, Count),
    /// It is not any more: neither let, nor bounded, nor counted.
    Forbid(Meter),
}

impl GateChange {
    pub(super) fn meter(&self) -> &Meter {
        let (Self::Let(meter, _) | Self::Bound(meter, ..) | Self::Forbid(meter)) = self;
        meter
    }

    /// What is changed for it, where `device` is the number of its meter's device.
    pub(super) fn changes(&self, device: u32) -> Vec<ElementChange> {
        let meter = self.meter();
        let (set, key) = (meter.direction.set(), meter.key(device));
        // An element that is not there cannot be removed.
        let remove = |set| {
            [ElementChange::Add { set, key, statement: None }, ElementChange::Remove { set, key }]
        };
        // To an element that is there this adds nothing: its count goes on.
        let count =
            |begins| ElementChange::Add { set, key, statement: Some(ElementRule::Counter(begins)) };
        match *self {
            Self::Let(_, begins) => vec![count(begins)],
            Self::Bound(_, kilobits, begins) => {
                // An element that is there keeps the rate that it has: it is made anew.
                let mut changes = remove(RATES).to_vec();
                if kilobits > 0 {
                    let rate = KILOBIT * u64::from(kilobits);
                    let statement = Some(ElementRule::Limit { rate, burst: BURST });
                    changes.push(ElementChange::Add { set: RATES, key, statement });
                }
                changes.push(count(begins));
                changes
            }
            Self::Forbid(_) => {
                let is_above = meter.direction == Direction::Above;
                let rate = is_above.then(|| remove(RATES));
                rate.into_iter().flatten().chain(remove(set)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Label;

    const BEGINS: Count = Count { packets: 3, bytes: 252 };

    fn meter(direction: Direction) -> Meter {
        Meter { device: "fl3".into(), direction, label: Label::new(100).unwrap() }
    }

    fn add(set: &'static str, statement: Option<ElementRule>) -> ElementChange {
        ElementChange::Add { set, key: meter(Direction::In).key(7), statement }
    }

    fn remove(set: &'static str) -> [ElementChange; 2] {
        [add(set, None), ElementChange::Remove { set, key: meter(Direction::In).key(7) }]
    }

    #[test]
    fn what_is_let_is_counted_until_it_is_not() {
        for (direction, set) in [(Direction::In, "labels"), (Direction::Out, "sent")] {
            let counted = add(set, Some(ElementRule::Counter(BEGINS)));
            assert_eq!(GateChange::Let(meter(direction), BEGINS).changes(7), [counted]);
            assert_eq!(GateChange::Forbid(meter(direction)).changes(7), remove(set));
        }
    }

    /// The rate is always made anew, and goes with what counts above it; the count stays while there is no rate.
    #[test]
    fn a_rate_is_made_anew() {
        let none = remove("rates");
        let rate = add("rates", Some(ElementRule::Limit { rate: 125_000, burst: 3000 }));
        let counted = add("above", Some(ElementRule::Counter(BEGINS)));
        let bound =
            |kilobits| GateChange::Bound(meter(Direction::Above), kilobits, BEGINS).changes(7);
        assert_eq!(bound(1000), [&none[..], &[rate, counted.clone()]].concat());
        assert_eq!(bound(0), [&none[..], &[counted]].concat());
        let forbidden = GateChange::Forbid(meter(Direction::Above)).changes(7);
        assert_eq!(forbidden, [none, remove("above")].concat());
    }
}
