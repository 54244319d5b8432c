//! The account of one kind with one neighbour: what was counted, and both sides of it.

use octet_node::certificate::Certificate;
use octet_node::control::PublicKey;

use crate::UNIT;
use crate::locks::Locks;
use crate::payee::PayeeSide;
use crate::payer::PayerSide;
use crate::receipt::is_strong;
use crate::refused::Refused;
use crate::terms::ServiceKind;

/// An account: with whom, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountId {
    pub node: PublicKey,
    pub kind: ServiceKind,
}

impl AccountId {
    /// The accounts that there may be with a node.
    pub(crate) fn of_node(node: &PublicKey) -> [Self; 2] {
        ServiceKind::ALL.map(|kind| Self { node: *node, kind })
    }

    /// The account of the other kind with the same node.
    pub(crate) fn other(self) -> Self {
        Self { kind: self.kind.other(), ..self }
    }
}

/// What the unit that serves and counts has counted for a neighbour: `forward` bytes of paths, `cache` those of objects.
/// Both counts only grow within a counter epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourCounters {
    /// Another one each time that the counters begin at 0.
    pub epoch: [u8; 16],
    /// Bytes of both directions on paths that this node asked the neighbour for, or of objects that it got.
    pub bought: u64,
    /// Bytes of both directions on paths that the neighbour asked this node for, or of objects that it was given.
    pub served: u64,
    /// Up to where the unit serves now; `None`: without limit.
    pub limit: Option<u64>,
}

/// The sums of counters over all their epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// The counters that were folded in last.
    pub epoch: [u8; 16],
    pub last_bought: u64,
    pub last_served: u64,
    pub bought: u64,
    pub served: u64,
}

/// What was special about counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Folded {
    /// They began at 0 again.
    pub is_new_epoch: bool,
    /// One of them was less than before within its epoch.
    pub went_back: bool,
}

impl Totals {
    /// Adds what is new in `counters`. A counter that goes back adds nothing until it exceeds what it was.
    pub fn fold(&mut self, counters: &NeighbourCounters) -> Folded {
        let is_new_epoch = counters.epoch != self.epoch;
        if is_new_epoch {
            (self.epoch, self.last_bought, self.last_served) = (counters.epoch, 0, 0);
        }
        let NeighbourCounters { bought, served, .. } = *counters;
        let went_back = bought < self.last_bought || served < self.last_served;
        self.bought = self.bought.saturating_add(bought.saturating_sub(self.last_bought));
        self.served = self.served.saturating_add(served.saturating_sub(self.last_served));
        self.last_bought = self.last_bought.max(bought);
        self.last_served = self.last_served.max(served);
        Folded { is_new_epoch, went_back }
    }
}

/// The newest certified key of the neighbour's unit `accounts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerKey {
    pub key: PublicKey,
    pub epoch: u64,
}

impl PeerKey {
    /// The key that `certificate` certifies, if it fits `node` and is not older than `known`.
    pub fn check(
        certificate: &Certificate,
        node: &PublicKey,
        known: Option<Self>,
    ) -> Result<Self, Refused> {
        let body = certificate.body();
        if body.node != *node || body.unit.as_str() != UNIT || !is_strong(&body.key) {
            return Err(Refused::WrongCertificate);
        }
        let new = Self { key: body.key, epoch: body.epoch };
        match known {
            Some(known) if new.epoch < known.epoch => Err(Refused::OldCertificate),
            Some(known) if new.epoch == known.epoch && new.key != known.key => {
                Err(Refused::WrongCertificate)
            }
            _ => Ok(new),
        }
    }
}

/// What is stored of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Account {
    pub peer: Option<PeerKey>,
    pub totals: Totals,
    pub payer: PayerSide,
    pub payee: PayeeSide,
}

impl Account {
    /// Whether nobody owes anything, and nothing that was counted is unsigned.
    pub fn is_settled(&self, locks: &Locks) -> bool {
        let (payer, payee) = (&self.payer, &self.payee);
        payer.owe() == 0
            && payer.unclaimed(locks) == 0
            && payee.owed() == 0
            && payee.unclaimed(locks) == 0
            && self.payee.unsigned(self.totals.served) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(epoch: u8, bought: u64, served: u64) -> NeighbourCounters {
        NeighbourCounters { epoch: [epoch; 16], bought, served, limit: None }
    }

    #[test]
    fn nothing_is_counted_twice() {
        let mut totals = Totals::default();
        let steps = [
            (counters(1, 10, 3), (10, 3), (true, false)),
            (counters(1, 10, 3), (10, 3), (false, false)),
            (counters(1, 15, 4), (15, 4), (false, false)),
            // Back, and forth again.
            (counters(1, 12, 5), (15, 5), (false, true)),
            (counters(1, 16, 5), (16, 5), (false, false)),
            (counters(2, 7, 1), (23, 6), (true, false)),
            (counters(2, 8, 1), (24, 6), (false, false)),
        ];
        for (counters, (bought, served), (is_new_epoch, went_back)) in steps {
            assert_eq!(totals.fold(&counters), Folded { is_new_epoch, went_back }, "{counters:?}");
            assert_eq!((totals.bought, totals.served), (bought, served), "{counters:?}");
        }
    }
}
