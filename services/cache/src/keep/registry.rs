//! The manifests that a board knows. What another board says is believed until it is disputed: then the manifest is used
//! whose shards give the object.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Formatter};

use iroh_blobs::Hash;

use super::manifest::{ShardLayout, ShardManifest};
use super::view::KnownManifest;

/// The maximum number of manifests of one object: more than one of them only if boards lie, or the settings change.
const MAX_OF_ONE: usize = 4;

/// The maximum number of remembered refusals: then all are forgotten.
const MAX_REFUSED: usize = 4096;

/// A manifest that is on the disk here, or is about to be.
#[derive(Debug, Clone)]
struct AdoptedManifest {
    hash: Hash,
    manifest: ShardManifest,
    is_proved: bool,
}

#[derive(Debug, Clone, Default)]
pub struct ManifestRegistry {
    /// By object, the one that is used first.
    adopted: HashMap<Hash, Vec<AdoptedManifest>>,
    /// Hashes of what is no manifest, or of one whose shards do not give the object.
    refused: HashSet<Hash>,
}

/// What a stored object is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardPart {
    /// The manifest of this object.
    Manifest(Hash),
    /// A shard of this object, with its index.
    Shard(Hash, u8),
}

impl Display for ShardPart {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(object) => write!(out, "the manifest of the shards of {object}"),
            Self::Shard(object, index) => write!(out, "shard {index} of {object}"),
        }
    }
}

impl ManifestRegistry {
    fn of(&self, object: &Hash) -> &[AdoptedManifest] {
        self.adopted.get(object).map_or(&[], Vec::as_slice)
    }

    fn fitting(&self, object: &Hash, layout: ShardLayout) -> Option<&AdoptedManifest> {
        let mut fitting = self.of(object).iter().filter(|it| it.manifest.layout == layout);
        let first = fitting.clone().next();
        fitting.find(|it| it.is_proved).or(first)
    }

    /// The manifest of the object with this layout. `size` is what another board says of the object's size.
    pub fn known(
        &self,
        object: &Hash,
        layout: ShardLayout,
        size: Option<u64>,
    ) -> Option<KnownManifest> {
        let used = self.fitting(object, layout)?;
        let same_layout = self.of(object).iter().filter(|it| it.manifest.layout == layout).count();
        let is_other_size = size.is_some_and(|size| size != used.manifest.size);
        Some(KnownManifest {
            hash: used.hash,
            is_proved: used.is_proved,
            is_disputed: same_layout > 1 || is_other_size,
        })
    }

    /// The manifest with which the object is read: one with this layout, or else any.
    pub fn best(
        &self,
        object: &Hash,
        layout: Option<ShardLayout>,
    ) -> Option<(Hash, &ShardManifest)> {
        let fitting = layout.and_then(|layout| self.fitting(object, layout));
        fitting.or_else(|| self.of(object).first()).map(|it| (it.hash, &it.manifest))
    }

    /// Which of the manifests that others have is to be looked at, the likeliest first.
    pub fn next(
        &self,
        object: &Hash,
        layout: Option<ShardLayout>,
        reported: &[Hash],
    ) -> Option<Hash> {
        let is_settled = match layout {
            Some(layout) => self.fitting(object, layout).is_some_and(|it| it.is_proved),
            // The object is read with it, and that is all.
            None => !self.of(object).is_empty(),
        };
        let is_full = self.of(object).len() >= MAX_OF_ONE;
        let is_new = |hash: &&Hash| {
            !self.refused.contains(*hash) && self.of(object).iter().all(|it| it.hash != **hash)
        };
        let next = reported.iter().find(is_new).copied();
        next.filter(|_| !is_settled && !is_full)
    }

    /// Takes a manifest over. One that is proved takes the place of all others with its layout.
    pub fn adopt(&mut self, manifest: ShardManifest, is_proved: bool) {
        let (hash, object, layout) = (manifest.hash(), manifest.object, manifest.layout);
        let of_object = self.adopted.entry(object).or_default();
        match of_object.iter_mut().find(|it| it.hash == hash) {
            Some(known) => known.is_proved |= is_proved,
            None => of_object.push(AdoptedManifest { hash, manifest, is_proved }),
        }
        if is_proved {
            let is_wrong = |it: &AdoptedManifest| it.manifest.layout == layout && it.hash != hash;
            let wrong: Vec<Hash> =
                of_object.iter().filter(|it| is_wrong(it)).map(|it| it.hash).collect();
            for hash in wrong {
                self.refuse(&object, hash);
            }
        }
    }

    /// These bytes are no manifest of the object, or its shards do not give the object.
    pub fn refuse(&mut self, object: &Hash, manifest: Hash) {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.insert(manifest);
        if let Some(of_object) = self.adopted.get_mut(object) {
            of_object.retain(|it| it.hash != manifest);
        }
    }

    pub fn is_refused(&self, manifest: &Hash) -> bool {
        self.refused.contains(manifest)
    }

    /// Its shards could not be had, so that another manifest of the object is tried. It makes room for one if there are as
    /// many as there can be.
    pub fn put_last(&mut self, object: &Hash, manifest: Hash) {
        if self.of(object).len() >= MAX_OF_ONE {
            self.refuse(object, manifest);
        } else if let Some(of_object) = self.adopted.get_mut(object) {
            of_object.sort_by_key(|it| it.hash == manifest);
        }
    }

    /// Gives what was refused another chance: the settings may have changed elsewhere before they changed here.
    pub fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    /// Whether there are manifests of the object with another layout, of before the settings changed.
    pub fn has_others(&self, object: &Hash, layout: Option<ShardLayout>) -> bool {
        self.of(object).iter().any(|it| Some(it.manifest.layout) != layout)
    }

    /// Forgets the manifests of the object with another layout.
    pub fn retire(&mut self, object: &Hash, layout: Option<ShardLayout>) {
        if let Some(of_object) = self.adopted.get_mut(object) {
            of_object.retain(|it| Some(it.manifest.layout) == layout);
        }
    }

    /// Forgets the manifests of all objects but these.
    pub fn retain(&mut self, objects: &HashSet<Hash>) {
        self.adopted.retain(|object, _| objects.contains(object));
    }

    /// All manifests, with their hashes.
    pub fn all(&self) -> impl Iterator<Item = (Hash, &ShardManifest)> {
        self.adopted.values().flatten().map(|it| (it.hash, &it.manifest))
    }

    /// All manifests and shards.
    pub fn parts(&self) -> HashSet<Hash> {
        self.all().flat_map(|(hash, it)| it.shards.iter().copied().chain([hash])).collect()
    }

    /// What the object is a part of.
    pub fn part(&self, hash: &Hash) -> Option<ShardPart> {
        self.all().find_map(|(manifest, it)| {
            if manifest == *hash {
                return Some(ShardPart::Manifest(it.object));
            }
            let index = it.shards.iter().position(|shard| shard == hash)?;
            Some(ShardPart::Shard(it.object, index as u8))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: ShardLayout = ShardLayout { data: 2, parity: 1, block: 64 };

    fn manifest(shard: u8, layout: ShardLayout) -> ShardManifest {
        let shards = (0..layout.shards()).map(|index| Hash::new([shard, index])).collect();
        ShardManifest { object: Hash::EMPTY, size: 1000, layout, shards }
    }

    #[test]
    fn of_two_manifests_the_proved_one_is_used_and_the_other_one_refused() {
        let (object, mut registry) = (Hash::EMPTY, ManifestRegistry::default());
        let [right, wrong] = [1, 2].map(|shard| manifest(shard, LAYOUT));
        let reported = [wrong.hash(), right.hash()];
        assert_eq!(registry.next(&object, Some(LAYOUT), &reported), Some(wrong.hash()));
        registry.adopt(wrong.clone(), false);
        let known = registry.known(&object, LAYOUT, Some(1000)).unwrap();
        assert_eq!((known.hash, known.is_proved, known.is_disputed), (wrong.hash(), false, false));
        assert!(registry.known(&object, LAYOUT, Some(999)).unwrap().is_disputed);
        assert_eq!(registry.next(&object, Some(LAYOUT), &reported), Some(right.hash()));
        registry.adopt(right.clone(), false);
        assert!(registry.known(&object, LAYOUT, None).unwrap().is_disputed);
        // Both are protected until one is proved.
        assert_eq!(registry.parts().len(), 8);
        registry.put_last(&object, wrong.hash());
        assert_eq!(registry.known(&object, LAYOUT, None).unwrap().hash, right.hash());
        registry.adopt(right.clone(), true);
        let known = registry.known(&object, LAYOUT, None).unwrap();
        assert_eq!((known.hash, known.is_proved, known.is_disputed), (right.hash(), true, false));
        assert_eq!(registry.next(&object, Some(LAYOUT), &reported), None);
        assert_eq!(registry.parts().len(), 4);
        assert_eq!(registry.part(&right.shards[1]), Some(ShardPart::Shard(object, 1)));
        assert_eq!(registry.part(&right.hash()), Some(ShardPart::Manifest(object)));
        assert_eq!(registry.part(&wrong.hash()), None);
        let [shard, of] =
            [&right.shards[1], &right.hash()].map(|hash| registry.part(hash).unwrap());
        assert_eq!(shard.to_string(), format!("shard 1 of {object}"));
        assert_eq!(of.to_string(), format!("the manifest of the shards of {object}"));
    }

    #[test]
    fn what_another_board_says_is_bounded() {
        let (object, mut registry) = (Hash::EMPTY, ManifestRegistry::default());
        let many: Vec<_> = (0..20).map(|shard| manifest(shard, LAYOUT)).collect();
        let reported: Vec<Hash> = many.iter().map(ShardManifest::hash).collect();
        let mut taken = 0;
        while let Some(next) = registry.next(&object, Some(LAYOUT), &reported) {
            let found = many.iter().find(|it| it.hash() == next).unwrap();
            registry.adopt(found.clone(), false);
            taken += 1;
        }
        assert_eq!(taken, MAX_OF_ONE);
        // One whose shards do not come makes room for the next one.
        let first = registry.known(&object, LAYOUT, None).unwrap().hash;
        registry.put_last(&object, first);
        let next = registry.next(&object, Some(LAYOUT), &reported);
        assert!(registry.is_refused(&first) && next.is_some_and(|next| next != first));
    }

    #[test]
    fn manifests_of_before_the_settings_changed_are_used_until_they_are_retired() {
        let (object, mut registry) = (Hash::EMPTY, ManifestRegistry::default());
        let old = manifest(1, ShardLayout { data: 3, ..LAYOUT });
        registry.adopt(old.clone(), true);
        assert_eq!(registry.known(&object, LAYOUT, None), None);
        assert_eq!(registry.best(&object, Some(LAYOUT)), Some((old.hash(), &old)));
        let new = manifest(2, LAYOUT);
        registry.adopt(new.clone(), true);
        assert_eq!(registry.best(&object, Some(LAYOUT)), Some((new.hash(), &new)));
        assert!(registry.has_others(&object, Some(LAYOUT)));
        registry.retire(&object, Some(LAYOUT));
        assert!(!registry.has_others(&object, Some(LAYOUT)));
        assert_eq!(registry.parts().len(), 4);
        registry.retain(&HashSet::new());
        assert!(registry.parts().is_empty());
    }
}
