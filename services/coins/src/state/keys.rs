//! Keys of units `accounts`: bound, closed, void.

use octet_node::control::PublicKey;

use super::draft::Draft;
use super::row::{BoundKey, KeyState, LedgerRow, NodeKey, RowKey};
use super::tree::RowGroup;
use crate::invalid::InvalidTransaction;

impl Draft<'_> {
    /// A key of `signer`'s.
    pub(super) fn owned_key(
        &self,
        signer: &PublicKey,
        key: &PublicKey,
    ) -> Result<BoundKey, InvalidTransaction> {
        let bound = self.key(key).ok_or(InvalidTransaction::UnknownKey)?;
        if bound.owner == *signer { Ok(bound) } else { Err(InvalidTransaction::NotOwner) }
    }

    pub(super) fn bind(
        &mut self,
        signer: &PublicKey,
        node: &PublicKey,
        key: &PublicKey,
        epoch: u64,
        max_per_day: u64,
    ) -> Result<(), InvalidTransaction> {
        if self.key(key).is_some() {
            return Err(InvalidTransaction::BoundBefore);
        }
        if let Some(former) = self.node(signer, node) {
            if epoch <= former.epoch {
                return Err(InvalidTransaction::LowerEpoch);
            }
            self.close(&former.key)?;
        }
        let bound = BoundKey {
            owner: *signer,
            node: *node,
            epoch,
            max_per_day,
            state: KeyState::Open,
            day: 0,
            paid: 0,
        };
        self.put(RowKey::Key(*key), LedgerRow::Key(bound));
        let newest = NodeKey { key: *key, epoch };
        self.put(RowKey::Node(*signer, *node), LedgerRow::Node(newest));
        Ok(())
    }

    pub(super) fn revoke(
        &mut self,
        signer: &PublicKey,
        key: &PublicKey,
    ) -> Result<(), InvalidTransaction> {
        if self.owned_key(signer, key)?.state != KeyState::Open {
            return Err(InvalidTransaction::Closed);
        }
        self.close(key)
    }

    /// Closes a key, if it is open. From now on no coins are locked for it.
    fn close(&mut self, key: &PublicKey) -> Result<(), InvalidTransaction> {
        let mut bound = self.key(key).ok_or(InvalidTransaction::UnknownKey)?;
        if bound.state == KeyState::Open {
            let claim_heights = self.state.parameters().claim_heights;
            let void_at =
                self.height.checked_add(claim_heights).ok_or(InvalidTransaction::Overflow)?;
            bound.state = KeyState::Closed { void_at };
            self.put(RowKey::Key(*key), LedgerRow::Key(bound));
        }
        Ok(())
    }

    /// Nothing is paid with the key any more: what is left in its locks returns, and what is known of claims is
    /// forgotten.
    pub(super) fn void(&mut self, key: &PublicKey) -> Result<(), InvalidTransaction> {
        let Some(bound) = self.key(key) else { return Ok(()) };
        for row in self.state.tree.group(RowGroup::Payer(*key)) {
            match row {
                RowKey::Lock(payer, payee) => self.unlock(payer, payee)?,
                row => self.delete(*row),
            }
        }
        let void = BoundKey { state: KeyState::Void, ..bound };
        self.put(RowKey::Key(*key), LedgerRow::Key(void));
        Ok(())
    }
}
