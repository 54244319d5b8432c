//! Folders that a `[[keep]]` means: a board that keeps one keeps all of its files.
//!
//! The boards say of a folder what they say of an object. One has it only when it has all of it, and the folder itself is
//! pinned last and unpinned first. So what is pinned of a folder that is not pinned is left over, or on its way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iroh_blobs::Hash;
use iroh_blobs::hashseq::HashSeq;
use octet_node::say;

use super::ObjectKeeper;
use super::message::KeptState;
use crate::fetch::Missing;
use crate::folder::{MAX_HASHES, ObjectFolder};
use crate::objects::ObjectError;

/// What a board has of the folders that are kept.
pub(super) struct KeptFolders {
    /// The objects of each folder that are pinned here, without the folder itself.
    pub pinned: HashMap<Hash, Vec<Hash>>,
    /// Whether all folders that are here could be read.
    pub are_all_known: bool,
}

impl ObjectKeeper {
    /// Sees what is here of each folder. One folder is in memory at a time.
    pub(super) async fn look_at_folders(&self) -> KeptFolders {
        let folders = self.state().kept_folders();
        let policy = self.objects.policy();
        let pinned: HashSet<Hash> = policy.kept().into_iter().collect();
        let mut found = KeptFolders { pinned: HashMap::new(), are_all_known: true };
        let mut states = HashMap::new();
        for folder in folders {
            let objects = match self.contents(folder).await {
                Ok(objects) => objects,
                Err(error) => {
                    say!("what the kept folder {folder} has is not known: {error}");
                    found.are_all_known = false;
                    None
                }
            };
            let state = match &objects {
                None => KeptState::Absent,
                Some(objects) => {
                    let all = || objects.iter().chain([&folder]);
                    match all().all(|it| policy.is_kept(it)) {
                        true => KeptState::Kept,
                        false if all().all(|it| policy.size(it).is_some()) => KeptState::Loose,
                        false => KeptState::Absent,
                    }
                }
            };
            states.insert(folder, state);
            let mut objects = objects.unwrap_or_default();
            objects.retain(|it| pinned.contains(it));
            found.pinned.insert(folder, objects);
        }
        self.state().folders = states;
        found
    }

    /// Fetches all objects of a folder that are not here, and pins each, the folder itself last.
    pub(super) async fn keep_folder(self: &Arc<Self>, folder: Hash) -> Result<(), Missing> {
        if self.objects.size(folder).is_none() {
            self.fetch(folder).await?;
        }
        let objects = self.contents(folder).await?.ok_or(Missing::Nowhere)?;
        for object in objects {
            if !self.objects.policy().is_kept(&object) {
                self.keep(object).await?;
            }
        }
        self.keep(folder).await
    }

    /// The objects of a folder that is here, each once; none of an object that is no folder.
    async fn contents(&self, folder: Hash) -> Result<Option<Vec<Hash>>, ObjectError> {
        let Some(size) = self.objects.size(folder) else { return Ok(None) };
        if size > MAX_HASHES {
            return Ok(Some(vec![]));
        }
        let hashes = self.objects.bytes(folder).await?;
        if ObjectFolder::paths_of(&hashes).is_err() {
            return Ok(Some(vec![]));
        }
        let objects: HashSet<Hash> = HashSeq::new(hashes).into_iter().flatten().collect();
        Ok(Some(objects.into_iter().filter(|it| *it != folder).collect()))
    }
}
