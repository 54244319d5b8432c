//! What the settings say is kept, and what a board remembers of it.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use iroh_blobs::Hash;
use octet_appliance::{KeepRedundancy, KeepSection, ObjectName};

use super::manifest::ShardLayout;
use super::message::KeptState;
use super::registry::ManifestRegistry;
use super::shards::Restoring;
use super::view::{KeepView, KeptCopies, KeptShards};

/// A `[[keep]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    pub what: KeptObject,
    /// Whether it is a folder, whose files are kept with it.
    pub is_folder: bool,
    pub redundancy: KeepRedundancy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptObject {
    Hash(Hash),
    /// The object of a name, whichever it is.
    Name(ObjectName),
}

/// How well an object is kept, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepCondition {
    /// No board that answers has it, or nobody knows the name.
    Missing,
    /// It has fewer copies or shards than it is to have, or too many of its shards are on one board.
    AtRisk,
    Kept,
}

impl KeepCondition {
    pub const ALL: [Self; 3] = [Self::Missing, Self::AtRisk, Self::Kept];

    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::AtRisk => "at-risk",
            Self::Kept => "kept",
        }
    }
}

/// A row of `keep-status`.
#[derive(Debug, Clone)]
pub struct KeepRow {
    pub keep: Keep,
    /// `None` if the name is not known.
    pub hash: Option<Hash>,
    pub condition: KeepCondition,
    /// Where its copies are, if it is to have copies.
    pub copies: KeptCopies,
    /// Where its shards are, if it is to have shards.
    pub shards: Option<KeptShards>,
}

/// What a board remembers.
#[derive(Debug, Default)]
pub struct KeeperState {
    /// `None` as long as the settings are not known.
    pub keeps: Option<Vec<Keep>>,
    /// The objects of names.
    pub named: HashMap<ObjectName, Hash>,
    /// The number of names that were looked up.
    pub looked_up: usize,
    /// `None` as long as this node is not in the map.
    pub view: Option<KeepView>,
    /// Objects that could not be fetched: why, and until when they are not tried again.
    pub postponed: HashMap<Hash, (KeptState, Instant)>,
    /// The nodes that counted as dead at the last look.
    pub dead: Vec<u8>,
    pub manifests: ManifestRegistry,
    /// Whether the manifests on the disk were read.
    pub is_loaded: bool,
    /// What this board had of the folders that are kept, at the last look.
    pub folders: HashMap<Hash, KeptState>,
    /// Objects that are being made of their shards.
    pub restoring: HashMap<Hash, Restoring>,
}

impl KeeperState {
    pub fn hash(&self, keep: &Keep) -> Option<Hash> {
        match &keep.what {
            KeptObject::Hash(hash) => Some(*hash),
            KeptObject::Name(name) => self.named.get(name).copied(),
        }
    }

    /// Forgets the objects of names that the settings do not have any more.
    pub fn forget_names(&mut self) {
        let names: HashSet<&ObjectName> = names(&self.keeps).collect();
        self.named.retain(|name, _| names.contains(name));
    }

    /// At most `count` names that are looked up next, each in its turn.
    pub fn next_names(&mut self, count: usize) -> Vec<ObjectName> {
        let mut names: Vec<ObjectName> = names(&self.keeps).cloned().collect();
        if !names.is_empty() {
            let first = self.looked_up % names.len();
            names.rotate_left(first);
        }
        names.truncate(count);
        self.looked_up = self.looked_up.wrapping_add(names.len());
        names
    }

    /// Why it is not tried again yet.
    pub fn postponed(&self, hash: &Hash) -> Option<KeptState> {
        let (why, until) = self.postponed.get(hash)?;
        (Instant::now() < *until).then_some(*why)
    }

    /// The objects, each with how it is kept: so that most boards may be lost, if several lines mean it.
    pub fn kept(&self) -> Vec<(Hash, KeepRedundancy)> {
        let mut kept: Vec<(Hash, KeepRedundancy)> = vec![];
        let mut places = HashMap::new();
        for keep in self.keeps.iter().flatten() {
            let Some(hash) = self.hash(keep) else { continue };
            let place = *places.entry(hash).or_insert(kept.len());
            match kept.get_mut(place) {
                Some((_, known)) if losses(keep.redundancy) > losses(*known) => {
                    *known = keep.redundancy;
                }
                Some(_) => {}
                None => kept.push((hash, keep.redundancy)),
            }
        }
        kept
    }

    /// The folders that are kept with their files.
    pub fn kept_folders(&self) -> HashSet<Hash> {
        let folders = self.keeps.iter().flatten().filter(|keep| keep.is_folder);
        folders.filter_map(|keep| self.hash(keep)).collect()
    }

    /// How the object is to be cut; `None` if it is to have copies.
    pub fn layout(&self, hash: &Hash) -> Option<ShardLayout> {
        let kept = self.kept().into_iter().find(|(kept, _)| kept == hash);
        kept.and_then(|(_, redundancy)| layout(redundancy))
    }
}

/// How many boards may be lost.
fn losses(redundancy: KeepRedundancy) -> u8 {
    match redundancy {
        KeepRedundancy::Copies(copies) => copies.saturating_sub(1),
        KeepRedundancy::Shards { parity, .. } => parity,
    }
}

/// The layout of the shards; `None` for copies.
pub fn layout(redundancy: KeepRedundancy) -> Option<ShardLayout> {
    match redundancy {
        KeepRedundancy::Copies(_) => None,
        KeepRedundancy::Shards { data, parity } => Some(ShardLayout::new(data, parity)),
    }
}

impl Keep {
    pub fn from_section(section: &KeepSection) -> Option<Self> {
        let object = section.object.as_ref().and_then(|hash| hash.as_str().parse().ok());
        let what = match (object, &section.name) {
            (Some(hash), _) => KeptObject::Hash(hash),
            (None, name) => KeptObject::Name(name.clone()?),
        };
        Some(Self { what, is_folder: section.folder, redundancy: section.redundancy() })
    }
}

fn names(keeps: &Option<Vec<Keep>>) -> impl Iterator<Item = &ObjectName> {
    keeps.iter().flatten().filter_map(|keep| match &keep.what {
        KeptObject::Hash(_) => None,
        KeptObject::Name(name) => Some(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_lines_the_one_counts_that_survives_most() {
        let shards = KeepRedundancy::Shards { data: 5, parity: 3 };
        let copies = KeepRedundancy::Copies;
        let what = KeptObject::Hash(Hash::EMPTY);
        for (lines, expected) in [
            ([copies(2), copies(3)], copies(3)),
            ([copies(2), shards], shards),
            ([shards, copies(5)], copies(5)),
            ([shards, copies(4)], shards),
        ] {
            let keeps = lines
                .map(|redundancy| Keep { what: what.clone(), is_folder: false, redundancy })
                .to_vec();
            let state = KeeperState { keeps: Some(keeps), ..KeeperState::default() };
            assert_eq!(state.kept(), [(Hash::EMPTY, expected)]);
        }
    }

    #[test]
    fn each_name_has_its_turn_and_those_of_before_are_forgotten() {
        let node = octet_appliance::PublicKey::new([7; 32]);
        let name = |path: &str| ObjectName { node, path: path.parse().unwrap() };
        let redundancy = KeepRedundancy::Copies(2);
        let keep = |path| Keep { what: KeptObject::Name(name(path)), is_folder: false, redundancy };
        let keeps = ["a", "b", "c"].map(keep).to_vec();
        let mut state = KeeperState { keeps: Some(keeps), ..KeeperState::default() };
        for expected in [["a", "b"], ["c", "a"], ["b", "c"]] {
            assert_eq!(state.next_names(2), expected.map(name));
        }
        assert_eq!(state.next_names(9).len(), 3);
        for path in ["a", "b"] {
            state.named.insert(name(path), Hash::EMPTY);
        }
        state.keeps = Some(vec![keep("b")]);
        state.forget_names();
        assert_eq!(state.named.into_keys().collect::<Vec<_>>(), [name("b")]);
        assert!(KeeperState::default().next_names(2).is_empty());
    }
}
