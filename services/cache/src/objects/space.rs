//! Makes room within the quota and the free disk space by evicting loose objects.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use iroh_blobs::Hash;
use rustix::fs::statvfs;
use tokio::task::spawn_blocking;

use super::{ObjectError, Objects, broken, name};
use crate::policy::{Claim, ObjectKind, PinnedBy, cost};

/// The number of retries if the room is taken by others.
const MAX_RETRIES: usize = 8;

impl Objects {
    /// Checks that the disk has room for `more` bytes.
    pub fn check_free(&self, more: u64) -> Result<(), ObjectError> {
        let (free, reserve) = self.disk_space()?;
        match free < reserve.saturating_add(more) {
            true => Err(ObjectError::Full { free, reserve }),
            false => Ok(()),
        }
    }

    /// The free bytes, and the reserved ones.
    fn disk_space(&self) -> Result<(u64, u64), ObjectError> {
        let stat = statvfs(&self.folder).map_err(broken)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        let (free, all) = (bytes(stat.f_bavail), bytes(stat.f_blocks));
        let free = free.min(for_files(all, stat.f_files, stat.f_favail));
        Ok((free, (all / self.reserve.share.max(1)).min(self.reserve.max)))
    }

    /// Checks that an object of `size` bytes fits, if all loose objects are evicted.
    pub fn check_fits(&self, size: u64) -> Result<(), ObjectError> {
        let (free, reserve) = self.disk_space()?;
        let lacks_on_disk = reserve.saturating_add(cost(size)).saturating_sub(free);
        let to_be_had = self.policy.evictable();
        match lacks_on_disk.max(self.policy.shortfall(cost(size))) <= to_be_had {
            true => Ok(()),
            false => Err(self.full_error(lacks_on_disk > to_be_had, free, reserve)),
        }
    }

    /// Extends `claim` to `seen` bytes of an object, some of which are on disk.
    ///
    /// # Errors
    /// There is no room for it.
    pub async fn claim_for(&self, claim: &mut Claim, seen: u64) -> Result<(), ObjectError> {
        let wanted = cost(seen);
        if wanted <= claim.bytes() {
            return Ok(());
        }
        self.extend_claim(claim, wanted - claim.bytes()).await
    }

    /// Extends `claim` by `more` bytes, evicting loose objects if necessary.
    ///
    /// # Errors
    /// There is not enough room; nothing was evicted then.
    pub async fn extend_claim(&self, claim: &mut Claim, more: u64) -> Result<(), ObjectError> {
        for _ in 0..MAX_RETRIES {
            if self.check_free(more).is_ok() && self.policy.grow(claim, more) == 0 {
                return Ok(());
            }
            let _changing = self.changing.lock().await;
            let (free, reserve) = self.disk_space()?;
            let lacks_on_disk = reserve.saturating_add(more).saturating_sub(free);
            let lacks = match lacks_on_disk {
                0 => self.policy.grow(claim, more),
                lacks => lacks,
            };
            if lacks == 0 {
                return Ok(());
            }
            if self.policy.evictable() < lacks {
                return Err(self.full_error(lacks_on_disk > 0, free, reserve));
            }
            self.evict(lacks).await?;
        }
        let (free, reserve) = self.disk_space()?;
        Err(self.full_error(free < reserve.saturating_add(more), free, reserve))
    }

    fn full_error(&self, is_disk: bool, free: u64, reserve: u64) -> ObjectError {
        let usage = self.policy.usage();
        match is_disk {
            true => ObjectError::Full { free, reserve },
            false => {
                ObjectError::Quota { quota: usage.quota, used: usage.used, pinned: usage.pinned }
            }
        }
    }

    /// Evicts until `lacks` bytes are free. The caller holds `changing`.
    pub(super) async fn evict(&self, lacks: u64) -> Result<(), ObjectError> {
        // Parts of abandoned fetches go first.
        let lacks = lacks.saturating_sub(self.policy.drop_partials());
        let policy = Arc::clone(&self.policy);
        let gone = spawn_blocking(move || policy.evict(lacks)).await.map_err(broken)??;
        self.delete(gone).await
    }

    /// Deletes from the store what the policy has evicted. The caller holds `changing`.
    pub(super) async fn delete(&self, these: Vec<Hash>) -> Result<(), ObjectError> {
        for hash in &these {
            self.store.tags().delete(name(*hash)).await.map_err(broken)?;
        }
        for hash in &these {
            self.hot.remove(hash);
            self.files.remove(hash);
        }
        self.sweeper.sweep(self.policy.partials()).await?;
        let policy = Arc::clone(&self.policy);
        spawn_blocking(move || policy.mark_deleted(&these)).await.map_err(broken)?
    }

    /// Pins an object, or ends that. Returns whether it is on this node.
    ///
    /// # Errors
    /// Writing fails.
    pub async fn pin(
        &self,
        hash: Hash,
        by: PinnedBy,
        is_pinned: bool,
    ) -> Result<bool, ObjectError> {
        let _changing = self.changing.lock().await;
        let policy = Arc::clone(&self.policy);
        let kind = match by {
            PinnedBy::Operator => ObjectKind::Pinned,
            PinnedBy::Keep => ObjectKind::Kept,
        };
        let change = move || match (is_pinned, policy.size(&hash)) {
            (false, _) => policy.unpin(hash, by),
            (true, Some(size)) => policy.insert(hash, size, kind).map(|()| true),
            (true, None) => Ok(false),
        };
        spawn_blocking(change).await.map_err(broken)?
    }

    /// Pins the `objects` of a folder, which include the folder itself, all or none of them.
    ///
    /// # Errors
    /// One of them is not here, or writing fails.
    pub async fn pin_folder(
        &self,
        folder: Hash,
        objects: HashSet<Hash>,
    ) -> Result<(), ObjectError> {
        let _changing = self.changing.lock().await;
        let policy = Arc::clone(&self.policy);
        spawn_blocking(move || policy.pin_folder(folder, &objects)).await.map_err(broken)?
    }

    /// Ends that a folder is pinned; what is `released` is in no other one. Returns whether it was pinned.
    ///
    /// # Errors
    /// Writing fails.
    pub async fn unpin_folder(
        &self,
        folder: Hash,
        released: HashSet<Hash>,
    ) -> Result<bool, ObjectError> {
        let _changing = self.changing.lock().await;
        let policy = Arc::clone(&self.policy);
        spawn_blocking(move || policy.unpin_folder(folder, &released)).await.map_err(broken)?
    }

    /// Makes an object public for foreign web pages, or ends that. Returns whether it is on this
    /// node.
    ///
    /// # Errors
    /// The maximum number of public objects is reached, or writing fails.
    pub async fn set_public(&self, hash: Hash, is_public: bool) -> Result<bool, ObjectError> {
        let _changing = self.changing.lock().await;
        let policy = Arc::clone(&self.policy);
        let change = move || policy.set_public(hash, is_public);
        spawn_blocking(change).await.map_err(broken)?
    }

    /// Removes an object or a part of it, and remembers the removal. Returns whether the object was
    /// complete.
    ///
    /// # Errors
    /// Writing fails.
    pub async fn remove(&self, hash: Hash) -> Result<bool, ObjectError> {
        let _changing = self.changing.lock().await;
        let policy = Arc::clone(&self.policy);
        let had_part = policy.remove_partial(&hash);
        let was_here = spawn_blocking(move || policy.remove(hash)).await.map_err(broken)??;
        if was_here || had_part {
            self.delete(vec![hash]).await?;
        }
        Ok(was_here)
    }

    /// Keeps the partial data of `hash` until room is needed.
    pub fn keep_partial(&self, hash: Hash) {
        let path = self.paths.path.data_path(&hash);
        // Without a file there is nothing to account.
        if let Ok(file) = path.metadata() {
            self.policy.add_partial(hash, cost(file.blocks() * 512));
        }
    }
}

/// The bytes of a file system of `all` bytes that correspond to its `free` inodes, if each of its
/// `inodes` stands for an equal share. A file system that does not report inodes (btrfs) has no
/// such limit.
fn for_files(all: u64, inodes: u64, free: u64) -> u64 {
    match inodes {
        0 => u64::MAX,
        inodes => free.saturating_mul(all / inodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_inodes_is_full() {
        // mke2fs creates one inode per 16 KiB by default.
        assert_eq!(for_files(1 << 30, 1 << 16, 0), 0);
        assert_eq!(for_files(1 << 30, 1 << 16, 1 << 15), 1 << 29);
        assert_eq!(for_files(1 << 30, 0, 0), u64::MAX);
    }
}
