//! The link between two boxes: what is lost, late, doubled, old or forged; and receipts of liars.

use octet_receipts::{AccountMessage, AccountRow, Receipt, SignedReceipt};

use super::{Packet, World};
use crate::boxes::Lie;
use crate::wire;

impl World {
    pub(super) fn send(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let paid = wire::pay(&bytes).map(|seen| {
            let kind =
                self.scopes.get(&seen.scope).expect("receipts are for terms that were offered");
            (seen, (from, to, *kind))
        });
        if let Some((seen, flow)) = paid
            && let Some(flow) = self.flows.get_mut(&flow)
        {
            if self.nodes[from].lie != Lie::OldBook {
                flow.pays(seen);
            }
            if self.nodes[from].lie == Lie::Silent && seen.bytes > 1 << 20 {
                return;
            }
        }
        let is_honest = self.is_honest_payee(from);
        if let Some(seen) = wire::offer(&bytes) {
            self.scopes.insert(seen.scope, seen.kind);
            if let Some(flow) = self.flows.get_mut(&(to, from, seen.kind)).filter(|_| is_honest) {
                flow.offers(seen);
            }
        }
        let packet = Packet { from, to, bytes };
        self.history.push(packet.clone());
        self.queue.push(packet);
    }

    /// Delivers in any order; some are lost, late, doubled, old, or forged.
    pub(super) fn deliver(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        if self.is_quiet {
            for packet in queue {
                self.receive(&packet);
            }
            return;
        }
        self.rng.shuffle(&mut queue);
        for packet in queue {
            match self.rng.u32(0..20) {
                0 | 1 => {}
                2 => self.queue.push(packet),
                3 => {
                    self.receive(&packet);
                    self.receive(&packet);
                }
                4 => self.forge(&packet),
                _ => self.receive(&packet),
            }
        }
        if self.rng.f64() < 0.3 && !self.history.is_empty() {
            let packet = self.history[self.rng.usize(..self.history.len())].clone();
            self.receive(&packet);
        }
    }

    fn receive(&mut self, packet: &Packet) {
        let Packet { from, to, bytes } = packet;
        let now = self.now - self.nodes[*to].start;
        let before = self.nodes[*to].book.rows();
        if self.nodes[*to].book.handle(&self.keys[*from], bytes, now).is_err() {
            self.unchanged(*to, &before);
        }
        self.look(*to);
    }

    /// Nothing changes but what is shown of a refused price.
    fn unchanged(&self, name: usize, before: &[AccountRow]) {
        for (old, new) in before.iter().zip(self.nodes[name].book.rows()) {
            assert_eq!(*old, AccountRow { paying: old.paying, ..new });
        }
    }

    /// A bit is changed on the way, or another neighbour sends it.
    fn forge(&mut self, packet: &Packet) {
        let Packet { from, to, bytes } = packet;
        let (mut from, mut bytes) = (*from, bytes.clone());
        let others: Vec<_> = self.nodes[*to]
            .kernels
            .keys()
            .map(|line| line.0)
            .filter(|other| *other != from)
            .collect();
        if let Some(other) = self.rng.choice(others).filter(|_| self.rng.bool()) {
            from = other;
        } else {
            let bit = self.rng.usize(..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let (now, before) = (self.now - self.nodes[*to].start, self.nodes[*to].book.rows());
        let _ = self.nodes[*to].book.handle(&self.keys[from], &bytes, now);
        self.unchanged(*to, &before);
    }

    /// Receipts that a payer signs for something else than it was offered.
    pub(super) fn lie(&mut self) {
        for (payer, payee, kind) in self.flows.keys().copied().collect::<Vec<_>>() {
            if self.nodes[payer].lie != Lie::Others {
                continue;
            }
            let Some(given) = self.row(payer, (payee, kind)).given_receipt else { continue };
            let given = *SignedReceipt::from_bytes(&given).unwrap().receipt();
            let price = given.price + 1;
            let amount = |bytes: u64, price: u64| {
                u64::try_from((u128::from(bytes) * u128::from(price)) >> 30).unwrap()
            };
            let more = given.bytes + 5000;
            for lie in [
                Receipt { price, bytes: more, amount: amount(more, price), ..given },
                Receipt { scope: [9; 32], bytes: more, amount: amount(more, given.price), ..given },
                Receipt { epoch: given.epoch + (1 << 40), ..given },
            ] {
                let key = &self.nodes[payer].identity.key;
                let Ok(receipt) = SignedReceipt::sign(lie, &[0; 32], key) else { continue };
                let bytes = AccountMessage::Pay { receipt }.to_bytes();
                let before = self.nodes[payee].book.rows();
                let now = self.now - self.nodes[payee].start;
                let taken = self.nodes[payee].book.handle(&self.keys[payer], &bytes, now);
                assert!(taken.is_err() || given.epoch < lie.epoch + 1, "{lie:?}");
                self.unchanged(payee, &before);
            }
        }
    }
}
