//! After a start the policy and the store agree again, whatever was being done when the unit was killed.
//!
//! The policy is changed first. So what it does not know was never answered to anybody, unless it is of a time before
//! there was a policy, or its file was lost: what is whole and has a tag is kept then, and pinned.

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
        let mut leaving = self.policy.leaving();
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
            if left.contains(hash) || self.policy.size(hash).is_some() {
                continue;
            }
            match self.store.blobs().status(*hash).await.map_err(broken)? {
                BlobStatus::Complete { size } => {
                    self.policy.keep(*hash, size, ObjectKind::Pinned)?;
                }
                _ => {
                    self.store.tags().delete(name(*hash)).await.map_err(broken)?;
                }
            }
        }
        // What has no tag: parts of what was being fetched stay, what was being added goes.
        let mut is_untidy = false;
        for hash in self.store.blobs().list().hashes().await.map_err(broken)? {
            if tagged.contains(&hash) {
                continue;
            }
            match self.store.blobs().status(hash).await.map_err(broken)? {
                BlobStatus::Partial { .. } => self.given_up(hash),
                _ => is_untidy = true,
            }
        }
        // The quota may be another than it was.
        let excess = self.policy.excess();
        if excess > 0 {
            self.evict(excess).await?;
            leaving = self.policy.leaving();
        }
        if is_untidy || !leaving.is_empty() {
            self.let_go(leaving).await?;
        }
        Ok(())
    }
}
