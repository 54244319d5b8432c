//! Which flows rules allow to begin.

use std::collections::BTreeMap;

use crate::policy::PortRange;
use crate::segments::FlowKey;

/// Allowed flows: for each kind of flow between two zones disjoint ranges of ports, ordered, each with
/// the rule that allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowTable<R>(BTreeMap<FlowKey, Vec<AllowRule<R>>>);

/// A range of ports, and the rule that allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowRule<R> {
    /// The ports; all, for protocols without ports.
    pub ports: PortRange,
    pub rule: R,
}

impl<R> Default for AllowTable<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Copy> AllowTable<R> {
    /// The rule that allows a flow to `port`; for protocols without ports any port will do.
    pub fn rule(&self, flow: FlowKey, port: u16) -> Option<R> {
        self.rules(flow).iter().find(|it| it.ports.contains(port)).map(|it| it.rule)
    }

    /// The rules that allow flows of this kind.
    pub fn rules(&self, flow: FlowKey) -> &[AllowRule<R>] {
        self.0.get(&flow).map_or(&[], Vec::as_slice)
    }

    /// All entries, ordered by flow and by port.
    pub fn entries(&self) -> impl Iterator<Item = (FlowKey, AllowRule<R>)> {
        self.0.iter().flat_map(|(flow, rules)| rules.iter().map(|rule| (*flow, *rule)))
    }

    /// Allows by `rule` those of `ports` that no rule allows yet. Returns whether there were any.
    pub fn add(&mut self, flow: FlowKey, ports: PortRange, rule: R) -> bool {
        let rules = self.0.entry(flow).or_default();
        let mut free = vec![];
        let mut next = Some(ports.first);
        for other in rules.iter().filter(|it| it.ports.overlaps(ports)) {
            if let Some(first) = next.filter(|first| *first < other.ports.first) {
                free.push(PortRange { first, last: other.ports.first - 1 });
            }
            next = other.ports.last.checked_add(1);
        }
        if let Some(first) = next.filter(|first| *first <= ports.last) {
            free.push(PortRange { first, last: ports.last });
        }
        let adds = !free.is_empty();
        rules.extend(free.into_iter().map(|ports| AllowRule { ports, rule }));
        rules.sort_unstable_by_key(|it| it.ports);
        adds
    }

    /// Allows `ports` by `rule`, also those that other rules allow.
    pub fn replace(&mut self, flow: FlowKey, ports: PortRange, rule: R) {
        let rules = self.0.entry(flow).or_default();
        let mut apart = vec![AllowRule { ports, rule }];
        for it in rules.drain(..) {
            if it.ports.first < ports.first {
                let last = it.ports.last.min(ports.first - 1);
                apart.push(AllowRule { ports: PortRange { first: it.ports.first, last }, ..it });
            }
            if it.ports.last > ports.last {
                let first = it.ports.first.max(ports.last + 1);
                apart.push(AllowRule { ports: PortRange { first, last: it.ports.last }, ..it });
            }
        }
        apart.sort_unstable_by_key(|it| it.ports);
        *rules = apart;
    }
}
