//! Walks through all folders: finds the owner of each cluster, and files that a power cut has left
//! incomplete.

use std::collections::VecDeque;

use super::folder::{self, DirectoryEntry, SLOT};
use super::table::{ClusterLink, FatTable};
use super::volume::VolumeGeometry;
use super::{FatFault, FatProblem, FatWrite, ReadAt, add, read};

/// Maximum number of slots of all folders together, and maximum depth: far more than an image has.
/// Both limit time and memory.
const SLOTS: usize = 1 << 16;
const DEEPEST: usize = 16;

/// Larger files (in bytes) are never emptied, unless their name marks them as unfinished.
const LARGE: u32 = 64 << 10;
const UNFINISHED: &str = ".new";

/// Maximum number of files that are reported by name.
const TOLD: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// It belongs to a file or a folder.
    Kept,
    /// It belongs to a file that releases it.
    Dropped,
}

/// A folder to be read.
struct Folder {
    path: String,
    depth: usize,
    clusters: Vec<u32>,
}

struct Chain {
    clusters: Vec<u32>,
    /// Whether its chain has an end; otherwise it continues at a free cluster.
    whole: bool,
}

/// What is done with a file.
enum Fate {
    Stays,
    /// It was being made or removed: its clusters are missing.
    Emptied,
    /// It was being renamed: another name refers to the same clusters.
    Removed,
    /// A folder that was being made.
    Unmade,
}

/// The findings so far.
pub struct TreeWalk<'a> {
    volume: &'a VolumeGeometry,
    table: &'a FatTable,
    owners: Vec<Owner>,
    /// For each cluster the size of the file that begins with it; 0 if none does.
    sizes: Vec<u32>,
    /// Folders still to be read.
    folders: VecDeque<Folder>,
    /// Number of slots of all folders so far.
    slots: usize,
    /// Clusters that become the last one of their file.
    ends: Vec<u32>,
    writes: Vec<FatWrite>,
    told: Vec<String>,
    untold: usize,
}

impl<'a> TreeWalk<'a> {
    /// Walks through all folders, from the root on.
    pub fn through(
        device: &impl ReadAt,
        volume: &'a VolumeGeometry,
        table: &'a FatTable,
    ) -> Result<Walked, FatProblem> {
        let mut walk = Self {
            volume,
            table,
            owners: vec![Owner::Nobody; volume.clusters as usize + 2],
            sizes: vec![0; volume.clusters as usize + 2],
            folders: VecDeque::new(),
            slots: 0,
            ends: vec![],
            writes: vec![],
            told: vec![],
            untold: 0,
        };
        walk.folder(String::new(), 0, volume.root).map_err(at("/"))?;
        while let Some(folder) = walk.folders.pop_front() {
            walk.look(device, &folder)?;
        }
        let mut done = walk.told;
        if walk.untold > 0 {
            done.push(format!("{} more", walk.untold));
        }
        Ok(Walked { writes: walk.writes, done, owners: walk.owners, ends: walk.ends })
    }

    fn look(&mut self, device: &impl ReadAt, folder: &Folder) -> Result<(), FatProblem> {
        let mut old = vec![];
        for cluster in &folder.clusters {
            old.extend(read(device, self.volume.sector(*cluster), self.volume.cluster)?);
        }
        let mut new = old.clone();
        let content = folder::read(&old).map_err(at(&format!("{}/", folder.path)))?;
        for entry in &content.entries {
            let path = format!("{}/{}", folder.path, entry.name);
            match self.fate(device, &path, folder.depth, entry)? {
                Fate::Stays => {}
                Fate::Emptied => {
                    folder::empty(&mut new, entry.slots.end - 1);
                    self.tell(format!("{path} emptied: its content was not there"));
                }
                Fate::Removed => {
                    entry.slots.clone().for_each(|slot| folder::delete(&mut new, slot));
                    self.tell(format!("{path} removed: it is there under another name"));
                }
                Fate::Unmade => {
                    entry.slots.clone().for_each(|slot| folder::delete(&mut new, slot));
                    self.tell(format!("{path}/ removed: its content was not there"));
                }
            }
        }
        if !content.orphans.is_empty() {
            content.orphans.iter().for_each(|slot| folder::delete(&mut new, *slot));
            self.tell(format!("{}/: half a name removed", folder.path));
        }
        if folder::close_gaps(&mut new) {
            self.tell(format!("{}/: end corrected", folder.path));
        }
        let bytes = self.volume.cluster_bytes() as usize;
        let pairs = old.chunks(bytes).zip(new.chunks(bytes));
        for (cluster, (old, new)) in folder.clusters.iter().zip(pairs) {
            add(&mut self.writes, old, new, self.volume.sector(*cluster));
        }
        Ok(())
    }

    fn fate(
        &mut self,
        device: &impl ReadAt,
        path: &str,
        depth: usize,
        entry: &DirectoryEntry,
    ) -> Result<Fate, FatProblem> {
        if !entry.is_folder {
            return self.file(entry).map_err(at(path));
        }
        if self.is_unmade(device, entry.first)? {
            self.owners[entry.first as usize] = Owner::Dropped;
            return Ok(Fate::Unmade);
        }
        self.folder(path.to_owned(), depth + 1, entry.first).map_err(at(path))?;
        Ok(Fate::Stays)
    }

    /// Whether the folder at `first` was being made: its only cluster was never written, or is free
    /// in the table and has no file that existed before.
    fn is_unmade(&self, device: &impl ReadAt, first: u32) -> Result<bool, FatProblem> {
        if !self.volume.has(first) || self.owners[first as usize] != Owner::Nobody {
            return Ok(false);
        }
        let link = self.table.link(first);
        if !matches!(link, ClusterLink::Free | ClusterLink::End) {
            return Ok(false);
        }
        let bytes = read(device, self.volume.sector(first), self.volume.cluster)?;
        if !folder::is_at(&bytes, first) {
            return Ok(true);
        }
        Ok(match folder::read(&bytes) {
            Ok(content) => {
                link == ClusterLink::Free && content.entries.iter().all(|it| self.is_new(it))
            }
            Err(_) => folder::begins_unused(&bytes),
        })
    }

    /// Whether this file was being made.
    fn is_new(&self, entry: &DirectoryEntry) -> bool {
        let has_clusters = entry.first != 0
            && !(self.volume.has(entry.first) && self.table.link(entry.first) == ClusterLink::Free);
        !entry.is_folder && (!has_clusters || is_unfinished(&entry.name))
    }

    /// Claims the clusters of a folder, and queues it.
    fn folder(&mut self, path: String, depth: usize, first: u32) -> Result<(), FatFault> {
        let Chain { clusters, whole } = self.follow(first)?;
        if !whole {
            return Err(FatFault::NotWhole);
        }
        self.slots += clusters.len() * self.volume.cluster_bytes() as usize / SLOT;
        if depth > DEEPEST || self.slots > SLOTS {
            return Err(FatFault::TooMany);
        }
        self.folders.push_back(Folder { path, depth, clusters });
        Ok(())
    }

    /// Claims the clusters of a file, and releases those beyond its size.
    fn file(&mut self, entry: &DirectoryEntry) -> Result<Fate, FatFault> {
        let DirectoryEntry { first, size, .. } = *entry;
        let needed = size.div_ceil(self.volume.cluster_bytes()) as usize;
        if first == 0 && needed == 0 {
            return Ok(Fate::Stays);
        }
        if first == 0 {
            return emptied(entry);
        }
        if needed > 0 && self.sizes.get(first as usize) == Some(&size) {
            return Ok(Fate::Removed);
        }
        let Chain { clusters, whole } = self.follow(first)?;
        let kept = if clusters.len() < needed { 0 } else { needed };
        if kept == 0 {
            emptied(entry)?;
        }
        for cluster in &clusters[kept..] {
            self.owners[*cluster as usize] = Owner::Dropped;
        }
        if kept == 0 {
            return Ok(Fate::Emptied);
        }
        if kept < clusters.len() || !whole {
            self.ends.push(clusters[kept - 1]);
        }
        self.sizes[first as usize] = size;
        Ok(Fate::Stays)
    }

    /// Claims all clusters from `first` on. Each is claimed once, so this ends.
    fn follow(&mut self, first: u32) -> Result<Chain, FatFault> {
        let mut clusters = vec![];
        let mut cluster = first;
        loop {
            if !self.volume.has(cluster) {
                return Err(FatFault::NoCluster(cluster));
            }
            let link = self.table.link(cluster);
            match link {
                ClusterLink::Free => return Ok(Chain { clusters, whole: false }),
                ClusterLink::Bad => return Err(FatFault::Bad(cluster)),
                ClusterLink::Next(_) | ClusterLink::End => {}
            }
            let owner = &mut self.owners[cluster as usize];
            if *owner != Owner::Nobody {
                return Err(FatFault::Shared(cluster));
            }
            *owner = Owner::Kept;
            clusters.push(cluster);
            let ClusterLink::Next(next) = link else { return Ok(Chain { clusters, whole: true }) };
            cluster = next;
        }
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD {
            self.told.push(what);
        } else {
            self.untold += 1;
        }
    }
}

/// A file that a power cut leaves incomplete is a small one of the boot loader, or is named as
/// unfinished. Any other large incomplete file may be a kernel whose table was damaged otherwise,
/// and the other table may still have it: it is left alone.
fn emptied(entry: &DirectoryEntry) -> Result<Fate, FatFault> {
    match entry.size > LARGE && !is_unfinished(&entry.name) {
        true => Err(FatFault::NotWhole),
        false => Ok(Fate::Emptied),
    }
}

/// Decided by its name. A short name is stored in capitals, however it is shown.
fn is_unfinished(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(UNFINISHED)
}

fn at(path: &str) -> impl Fn(FatFault) -> FatProblem {
    move |fault| FatProblem::File { path: path.to_owned(), fault }
}

/// The resulting repairs.
pub struct Walked {
    /// The writes to folders.
    pub writes: Vec<FatWrite>,
    pub done: Vec<String>,
    owners: Vec<Owner>,
    ends: Vec<u32>,
}

impl Walked {
    /// Updates the table; returns how many clusters became free.
    pub fn settle(&self, table: &mut FatTable) -> usize {
        self.ends.iter().for_each(|cluster| table.end(*cluster));
        let unused = |cluster: &u32| self.owners[*cluster as usize] != Owner::Kept;
        let in_use = |link| matches!(link, ClusterLink::Next(_) | ClusterLink::End);
        let lost: Vec<u32> =
            table.numbers().filter(unused).filter(|it| in_use(table.link(*it))).collect();
        lost.iter().for_each(|cluster| table.clear(*cluster));
        lost.len()
    }
}
