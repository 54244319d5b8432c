//! Crashes, power cuts, and new keys.

use octet_receipts::{AccountRow, ServiceKind};

use super::World;
use crate::boxes::{Kernel, Lie, certified};

impl World {
    /// The unit that counts a kind begins again, and its counters with it. What the book had not observed is lost.
    pub(super) fn restart_counters(&mut self, name: usize, kind: ServiceKind) {
        self.begin_counters(name, kind);
        for ((payer, payee, _), flow) in self.flows.iter_mut().filter(|it| it.0.2 == kind) {
            if *payer == name {
                let lost = flow.bought - flow.observed_bought;
                flow.unsafe_bought = flow.observed_bought - flow.stored_bought;
                (flow.observed_bought, flow.stored_bought) =
                    (flow.bought, flow.stored_bought + lost);
                flow.lost_bought += lost;
            }
            if *payee == name {
                let lost = flow.served - flow.observed_served;
                flow.unsafe_served = flow.observed_served - flow.stored_served;
                (flow.observed_served, flow.stored_served) =
                    (flow.served, flow.stored_served + lost);
                flow.lost_served += lost;
            }
        }
    }

    fn begin_counters(&mut self, name: usize, kind: ServiceKind) {
        *self.nodes[name].boots.entry(kind).or_default() += 1;
        let kernels = self.nodes[name].kernels.iter_mut();
        for (_, kernel) in kernels.filter(|(line, _)| line.1 == kind) {
            *kernel = Kernel { limit: Some(0), ..Kernel::default() };
        }
    }

    pub(super) fn crash(&mut self, name: usize) {
        let is_power_cut = self.rng.bool();
        if is_power_cut {
            for kind in ServiceKind::ALL {
                self.begin_counters(name, kind);
            }
        }
        if self.nodes[name].lie == Lie::OldBook
            && let Some(old) = self.nodes[name].old_disk.clone()
        {
            self.nodes[name].disk = old;
        }
        if self.changes_keys && self.rng.f64() < 0.3 {
            self.renew(name);
        }
        self.nodes[name].start(self.now, &self.keys.clone());
        for ((payer, payee, kind), flow) in &mut self.flows {
            let rows = self.nodes[name].book.rows();
            let is_row =
                |row: &&AccountRow, peer: usize| row.node == self.keys[peer] && row.kind == *kind;
            let row = |peer: usize| rows.iter().find(|row| is_row(row, peer)).unwrap();
            if *payer == name {
                if is_power_cut {
                    flow.lost_bought += flow.bought - flow.stored_bought;
                    flow.stored_bought = flow.bought;
                } else {
                    flow.lost_bought += flow.unsafe_bought;
                    flow.stored_bought += flow.unsafe_bought;
                }
                flow.unsafe_bought = 0;
                // The counters are observed again.
                flow.observed_bought = flow.stored_bought;
                flow.payer_is(row(*payee));
                if self.nodes[name].lie != Lie::OldBook {
                    flow.payer_starts(row(*payee));
                }
            }
            if *payee == name {
                flow.starts += 1;
                flow.first = flow.first.filter(|_| flow.is_first_stored);
                if is_power_cut {
                    flow.lost_served += flow.served - flow.stored_served;
                    flow.stored_served = flow.served;
                } else {
                    flow.lost_served += flow.unsafe_served;
                    flow.stored_served += flow.unsafe_served;
                }
                flow.unsafe_served = 0;
                flow.observed_served = flow.stored_served;
                if self.nodes[name].lie != Lie::OldBook {
                    flow.payee_starts(row(*payer));
                }
            }
        }
    }

    /// The box gets a new key. The old one is gone if its unit does not run.
    pub(super) fn renew(&mut self, name: usize) {
        let node = &mut self.nodes[name];
        let epoch = node.identity.certificate.body().epoch + 1;
        node.identity = certified(&node.node, name, epoch);
        self.flows
            .iter_mut()
            .filter(|(pair, _)| pair.0 == name)
            .for_each(|(_, flow)| flow.key_changes += 1);
    }
}
