//! What the kernel holds for each path, and what a change of a path changes there.

use std::net::Ipv4Addr;

use super::end::PathEnd;
use super::relay::{NextHop, Transit};
use super::source::{SourcePath, SourceState};
use super::{Engine, EngineAction, LinkNumber, PathNumber};
use crate::control::Id;
use crate::label::Label;

/// One thing that the kernel holds for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEntry {
    /// Accepts this label from the neighbour, and counts packets. Without it the label has no route.
    Accept(LinkNumber, Label),
    /// Limits the rate of an accepted label, in kbit/s; 0: unlimited. Packets above it are dropped and counted.
    RateLimit(LinkNumber, Label, u32),
    /// Swaps the incoming label for the outgoing one, and counts packets.
    Swap { from: Label, to: Label, link: LinkNumber },
    /// Pops this label: its path ends here.
    Pop(Label),
    /// Pushes this label on packets between the two addresses, and counts them.
    Push {
        addresses: (Ipv4Addr, Ipv4Addr),
        label: Label,
        /// The initial TTL of the label.
        ttl: u8,
        link: LinkNumber,
    },
    /// A path end. It is the owner of the route between its addresses.
    End(PathNumber, PathEnd),
}

impl KernelEntry {
    /// Whether installing one of the two replaces the other.
    fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::RateLimit(link, label, _), Self::RateLimit(of, it, _)) => {
                (link, label) == (of, it)
            }
            (Self::End(number, _), Self::End(it, _)) => number == it,
            _ => self == other,
        }
    }
}

/// Installs all of these, in order.
pub fn install(entries: Vec<KernelEntry>) -> impl Iterator<Item = EngineAction> {
    entries.into_iter().map(EngineAction::Install)
}

/// Removes all of these. Path ends are last: no label leads to them any more.
pub(super) fn remove(entries: Vec<KernelEntry>) -> impl Iterator<Item = EngineAction> {
    let is_end = |entry: &KernelEntry| matches!(entry, KernelEntry::End(..));
    let (ends, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_end);
    others.into_iter().chain(ends).map(EngineAction::Remove)
}

/// What makes of a kernel that holds `before` one that holds `after`.
pub(super) fn difference(
    before: Vec<KernelEntry>,
    after: Vec<KernelEntry>,
) -> impl Iterator<Item = EngineAction> {
    let is_gone = |entry: &KernelEntry| !after.iter().any(|it| it.replaces(entry));
    let gone: Vec<_> = before.iter().filter(|entry| is_gone(entry)).cloned().collect();
    let is_new = |entry: &KernelEntry| !before.contains(entry);
    let new: Vec<_> = after.into_iter().filter(is_new).collect();
    remove(gone).chain(install(new))
}

impl Transit {
    /// What the kernel holds for this path, in the order in which it is installed. `previous` is the link and the
    /// identifier of the neighbour that has requested it.
    pub(super) fn installed(&self, (previous, _): (LinkNumber, Id)) -> Vec<KernelEntry> {
        let mut entries = vec![];
        match &self.next_hop {
            NextHop::Hop { key: (next, _), reverse_label, out_label, .. } => {
                self.accept(*next, *reverse_label, &mut entries);
                entries.push(KernelEntry::Swap {
                    from: *reverse_label,
                    to: self.reverse_label,
                    link: previous,
                });
                if let Some(to) = *out_label {
                    self.accept(previous, self.in_label, &mut entries);
                    entries.push(KernelEntry::Swap { from: self.in_label, to, link: *next });
                }
            }
            NextHop::End(number, end) => {
                entries.push(KernelEntry::End(*number, end.clone()));
                entries.push(push(end, self.reverse_label, previous));
                self.accept(previous, self.in_label, &mut entries);
                entries.push(KernelEntry::Pop(self.in_label));
            }
        }
        entries
    }

    /// A label that is accepted has the rate limit of its path, if it ever had one.
    fn accept(&self, link: LinkNumber, label: Label, entries: &mut Vec<KernelEntry>) {
        entries.push(KernelEntry::Accept(link, label));
        if self.is_rate_limited {
            entries.push(KernelEntry::RateLimit(link, label, self.grant.rate));
        }
    }
}

impl SourcePath {
    /// What the kernel holds for this path, in the order in which it is installed.
    pub(super) fn installed(&self, number: PathNumber) -> Vec<KernelEntry> {
        let mut entries = vec![
            KernelEntry::Accept(self.link, self.reverse_label),
            KernelEntry::Pop(self.reverse_label),
        ];
        if let SourceState::Up { out_label, .. } = &self.setup {
            entries.push(KernelEntry::End(number, self.end.clone()));
            entries.push(push(&self.end, *out_label, self.link));
        }
        entries
    }
}

fn push(end: &PathEnd, label: Label, link: LinkNumber) -> KernelEntry {
    KernelEntry::Push { addresses: end.outer(), label, ttl: end.ttl(), link }
}

impl Engine {
    /// What the kernel holds for all paths, in the order in which it is installed from nothing.
    pub fn installed(&self) -> Vec<KernelEntry> {
        let transits = self.transits.iter().flat_map(|(key, transit)| transit.installed(*key));
        let own = self.paths.iter().flat_map(|(number, path)| path.installed(*number));
        transits.chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(number: u32) -> Label {
        Label::new(number).unwrap()
    }

    fn accept(number: u32) -> KernelEntry {
        KernelEntry::Accept(LinkNumber(1), label(number))
    }

    fn limit(rate: u32) -> KernelEntry {
        KernelEntry::RateLimit(LinkNumber(1), label(100), rate)
    }

    fn end(node: Option<std::net::Ipv6Addr>) -> KernelEntry {
        let end = PathEnd { number: 5, is_source: false, secret: [1; 32], key: [2; 32], node };
        KernelEntry::End(PathNumber(3), end)
    }

    fn changes(before: &[KernelEntry], after: &[KernelEntry]) -> Vec<EngineAction> {
        difference(before.to_vec(), after.to_vec()).collect()
    }

    #[test]
    fn what_stays_is_left_alone() {
        let all = [end(None), accept(100), limit(64), KernelEntry::Pop(label(100))];
        assert_eq!(changes(&all, &all), []);
        let installed = all.clone().map(EngineAction::Install);
        assert_eq!(changes(&[], &all), installed);
        assert_eq!(changes(&all[..1], &all), installed[1..]);
    }

    #[test]
    fn what_is_gone_is_removed_first_and_an_end_last_of_it() {
        let removed = [accept(100), end(None)].map(EngineAction::Remove);
        assert_eq!(changes(&[end(None), accept(100)], &[]), removed);
        let [first, second] = &removed;
        let moved = [first.clone(), second.clone(), EngineAction::Install(accept(101))];
        assert_eq!(changes(&[end(None), accept(100)], &[accept(101)]), moved);
    }

    /// A counter of drops, and a device, outlive a change of the rate or of the peer.
    #[test]
    fn what_is_replaced_is_not_removed() {
        let known = end(Some(std::net::Ipv6Addr::LOCALHOST));
        let replaced = [limit(0), known.clone()].map(EngineAction::Install);
        assert_eq!(changes(&[limit(64), end(None)], &[limit(0), known]), replaced);
    }
}
