//! Changes of allowed labels, rates and counters, as changes of set elements.

use super::element::{ElementChange, ElementRule};
use super::{BURST, Count, Meter};

const RATES: &str = "rates";

/// One kbit/s in bytes per second.
const KILOBIT: u64 = 125;

/// A change of an allowed label or its rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateChange {
    /// Allow and count the label. A new counter starts at this value. `is_charged`: the neighbour asked for its
    /// path, so it counts towards the quota of the link.
    Allow { meter: Meter, begins: Count, is_charged: bool },
    /// Limit an allowed label to this rate in kbit/s; 0: unlimited. Packets above it are dropped and counted by
    /// this meter; a new counter starts at this value.
    Limit(Meter, u32, Count),
    /// Remove the label, its rate limit and its counters.
    Remove(Meter),
}

impl GateChange {
    pub(super) fn meter(&self) -> &Meter {
        let (Self::Allow { meter, .. } | Self::Limit(meter, ..) | Self::Remove(meter)) = self;
        meter
    }

    /// The element changes, where `device` is the interface index.
    pub(super) fn changes(&self, device: u32) -> Vec<ElementChange> {
        let meter = self.meter();
        let (set, key) = (meter.direction.set(), meter.key(device));
        // Removing an element that does not exist fails, so it is added first.
        let remove = |set| {
            [ElementChange::Add { set, key, statement: None }, ElementChange::Remove { set, key }]
        };
        // Adding an existing element changes nothing: its counter continues.
        let count =
            |begins| ElementChange::Add { set, key, statement: Some(ElementRule::Counter(begins)) };
        match *self {
            Self::Allow { begins, is_charged, .. } => {
                let charged = meter.direction.charged_set().filter(|_| is_charged);
                let charge = charged.map(|set| ElementChange::Add { set, key, statement: None });
                charge.into_iter().chain([count(begins)]).collect()
            }
            Self::Limit(_, kilobits, begins) => {
                // An existing element keeps its rate, so it is replaced.
                let mut changes = remove(RATES).to_vec();
                if kilobits > 0 {
                    let rate = KILOBIT * u64::from(kilobits);
                    let statement = Some(ElementRule::Limit { rate, burst: BURST });
                    changes.push(ElementChange::Add { set: RATES, key, statement });
                }
                changes.push(count(begins));
                changes
            }
            Self::Remove(_) => {
                let other = meter.direction.charged_set().unwrap_or(RATES);
                remove(other).into_iter().chain(remove(set)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::meter::Direction;
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
        for (direction, set, charged) in
            [(Direction::In, "labels", "charged_in"), (Direction::Out, "sent", "charged_out")]
        {
            let counted = add(set, Some(ElementRule::Counter(BEGINS)));
            let allow = |is_charged| {
                GateChange::Allow { meter: meter(direction), begins: BEGINS, is_charged }.changes(7)
            };
            assert_eq!(allow(false), std::slice::from_ref(&counted));
            assert_eq!(allow(true), [add(charged, None), counted]);
            let removed = [remove(charged), remove(set)].concat();
            assert_eq!(GateChange::Remove(meter(direction)).changes(7), removed);
        }
    }

    /// A rate change replaces the element, and is applied together with the drop counter; the counter stays
    /// while there is no rate.
    #[test]
    fn a_rate_is_made_anew() {
        let none = remove("rates");
        let rate = add("rates", Some(ElementRule::Limit { rate: 125_000, burst: 3000 }));
        let counted = add("above", Some(ElementRule::Counter(BEGINS)));
        let bound =
            |kilobits| GateChange::Limit(meter(Direction::Above), kilobits, BEGINS).changes(7);
        assert_eq!(bound(1000), [&none[..], &[rate, counted.clone()]].concat());
        assert_eq!(bound(0), [&none[..], &[counted]].concat());
        let forbidden = GateChange::Remove(meter(Direction::Above)).changes(7);
        assert_eq!(forbidden, [none, remove("above")].concat());
    }
}
