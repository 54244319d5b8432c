//! Reconciles policy and store after a start, because the unit may have been killed during a
//! change.
//!
//! The policy is changed first, so an object that it does not know was never acknowledged, unless
//! it predates the policy or the policy's file was lost: complete objects with a tag are then kept,
//! and pinned.

use std::collections::HashSet;
use std::pin::pin;

use futures_util::StreamExt;
use iroh_blobs::Hash;
use iroh_blobs::api::blobs::BlobStatus;

use super::{ObjectError, Objects, TAG, broken, name};
use crate::policy::ObjectKind;

impl Objects {
    pub(super) async fn reconcile(&self) -> Result<(), ObjectError> {
        let _changing = self.changing.lock().await;
        let mut leaving = self.policy.evicting();
        let left: HashSet<Hash> = leaving.iter().copied().collect();
        let mut tagged = HashSet::new();
        {
            let mut tags = pin!(self.store.tags().list_prefix(TAG).await.map_err(broken)?);
            while let Some(tag) = tags.next().await {
                tagged.insert(tag.map_err(broken)?.hash);
            }
        }
        for hash in self.policy.all() {
            if !tagged.contains(&hash) {
                self.policy.forget(hash)?;
            }
        }
        for hash in &tagged {
            if left.contains(hash) || self.policy.stored_size(hash).is_some() {
                continue;
            }
            match self.store.blobs().status(*hash).await.map_err(broken)? {
                BlobStatus::Complete { size } => {
                    self.policy.insert(*hash, size, ObjectKind::Pinned)?;
                }
                _ => {
                    self.store.tags().delete(name(*hash)).await.map_err(broken)?;
                }
            }
        }
        // Without a tag: parts of fetches stay, remains of additions are deleted.
        let mut is_untidy = false;
        for hash in self.store.blobs().list().hashes().await.map_err(broken)? {
            if tagged.contains(&hash) {
                continue;
            }
            match self.store.blobs().status(hash).await.map_err(broken)? {
                BlobStatus::Partial { .. } => self.keep_partial(hash),
                _ => is_untidy = true,
            }
        }
        // The quota may have changed.
        let excess = self.policy.excess();
        if excess > 0 {
            self.evict(excess).await?;
            leaving = self.policy.evicting();
        }
        if is_untidy || !leaving.is_empty() {
            self.delete(leaving).await?;
        }
        Ok(())
    }
}
