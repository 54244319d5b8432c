//! Walks through all folders: finds the owner of each cluster, and files that a power cut has left
//! incomplete.

use std::collections::VecDeque;

use super::folder::{self, DirectoryEntry, SLOT};
use super::table::{ClusterLink, FatTable};
use super::volume::VolumeGeometry;
use super::{FatFault, FatProblem, FatWrite, ReadAt, add, read};

/// Maximum number of slots of all folders together, and maximum depth: far more than an image has.
/// Both limit time and memory.
const MAX_SLOTS: usize = 1 << 16;
const MAX_DEPTH: usize = 16;

/// Larger files (in bytes) are never emptied, unless their name marks them as unfinished.
const MAX_EMPTIED: u32 = 64 << 10;
const UNFINISHED: &str = ".new";

/// Maximum number of files that are reported by name.
const MAX_REPORTED: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Unclaimed,
    /// It belongs to a file or a folder.
    InUse,
    /// It belongs to a file that releases it.
    Released,
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
    is_terminated: bool,
}

/// What is done with a file.
enum FileAction {
    Keep,
    /// It was being made or removed: its clusters are missing.
    Truncate,
    /// It was being renamed: another name refers to the same clusters.
    Remove,
    /// A folder that was being made.
    Discard,
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
    reported: Vec<String>,
    unreported: usize,
}

impl<'a> TreeWalk<'a> {
    /// Walks through all folders, from the root on.
    pub fn run(
        device: &impl ReadAt,
        volume: &'a VolumeGeometry,
        table: &'a FatTable,
    ) -> Result<WalkResult, FatProblem> {
        let mut walk = Self {
            volume,
            table,
            owners: vec![Owner::Unclaimed; volume.clusters as usize + 2],
            sizes: vec![0; volume.clusters as usize + 2],
            folders: VecDeque::new(),
            slots: 0,
            ends: vec![],
            writes: vec![],
            reported: vec![],
            unreported: 0,
        };
        walk.folder(String::new(), 0, volume.root).map_err(at("/"))?;
        while let Some(folder) = walk.folders.pop_front() {
            walk.read_folder(device, &folder)?;
        }
        let mut done = walk.reported;
        if walk.unreported > 0 {
            done.push(format!("{} more", walk.unreported));
        }
        Ok(WalkResult { writes: walk.writes, done, owners: walk.owners, ends: walk.ends })
    }

    fn read_folder(&mut self, device: &impl ReadAt, folder: &Folder) -> Result<(), FatProblem> {
        let mut old = vec![];
        for cluster in &folder.clusters {
            old.extend(read(device, self.volume.sector(*cluster), self.volume.cluster)?);
        }
        let mut new = old.clone();
        let content = folder::read(&old).map_err(at(&format!("{}/", folder.path)))?;
        for entry in &content.entries {
            let path = format!("{}/{}", folder.path, entry.name);
            match self.file_action(device, &path, folder.depth, entry)? {
                FileAction::Keep => {}
                FileAction::Truncate => {
                    folder::empty(&mut new, entry.slots.end - 1);
                    self.report(format!("{path} emptied: its content was not there"));
                }
                FileAction::Remove => {
                    entry.slots.clone().for_each(|slot| folder::delete(&mut new, slot));
                    self.report(format!("{path} removed: it is there under another name"));
                }
                FileAction::Discard => {
                    entry.slots.clone().for_each(|slot| folder::delete(&mut new, slot));
                    self.report(format!("{path}/ removed: its content was not there"));
                }
            }
        }
        if !content.orphans.is_empty() {
            content.orphans.iter().for_each(|slot| folder::delete(&mut new, *slot));
            self.report(format!("{}/: half a name removed", folder.path));
        }
        if folder::close_gaps(&mut new) {
            self.report(format!("{}/: end corrected", folder.path));
        }
        let bytes = self.volume.cluster_bytes() as usize;
        let pairs = old.chunks(bytes).zip(new.chunks(bytes));
        for (cluster, (old, new)) in folder.clusters.iter().zip(pairs) {
            add(&mut self.writes, old, new, self.volume.sector(*cluster));
        }
        Ok(())
    }

    fn file_action(
        &mut self,
        device: &impl ReadAt,
        path: &str,
        depth: usize,
        entry: &DirectoryEntry,
    ) -> Result<FileAction, FatProblem> {
        if !entry.is_folder {
            return self.file(entry).map_err(at(path));
        }
        if self.is_incomplete(device, entry.first)? {
            self.owners[entry.first as usize] = Owner::Released;
            return Ok(FileAction::Discard);
        }
        self.folder(path.to_owned(), depth + 1, entry.first).map_err(at(path))?;
        Ok(FileAction::Keep)
    }

    /// Whether the folder at `first` was being made: its only cluster was never written, or is free
    /// in the table and has no file that existed before.
    fn is_incomplete(&self, device: &impl ReadAt, first: u32) -> Result<bool, FatProblem> {
        if !self.volume.contains(first) || self.owners[first as usize] != Owner::Unclaimed {
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
            && !(self.volume.contains(entry.first)
                && self.table.link(entry.first) == ClusterLink::Free);
        !entry.is_folder && (!has_clusters || is_unfinished(&entry.name))
    }

    /// Claims the clusters of a folder, and queues it.
    fn folder(&mut self, path: String, depth: usize, first: u32) -> Result<(), FatFault> {
        let Chain { clusters, is_terminated } = self.follow(first)?;
        if !is_terminated {
            return Err(FatFault::NotWhole);
        }
        self.slots += clusters.len() * self.volume.cluster_bytes() as usize / SLOT;
        if depth > MAX_DEPTH || self.slots > MAX_SLOTS {
            return Err(FatFault::TooMany);
        }
        self.folders.push_back(Folder { path, depth, clusters });
        Ok(())
    }

    /// Claims the clusters of a file, and releases those beyond its size.
    fn file(&mut self, entry: &DirectoryEntry) -> Result<FileAction, FatFault> {
        let DirectoryEntry { first, size, .. } = *entry;
        let needed = size.div_ceil(self.volume.cluster_bytes()) as usize;
        if first == 0 && needed == 0 {
            return Ok(FileAction::Keep);
        }
        if first == 0 {
            return check_truncatable(entry);
        }
        if needed > 0 && self.sizes.get(first as usize) == Some(&size) {
            return Ok(FileAction::Remove);
        }
        let Chain { clusters, is_terminated } = self.follow(first)?;
        let length = if clusters.len() < needed { 0 } else { needed };
        if length == 0 {
            check_truncatable(entry)?;
        }
        for cluster in &clusters[length..] {
            self.owners[*cluster as usize] = Owner::Released;
        }
        if length == 0 {
            return Ok(FileAction::Truncate);
        }
        if length < clusters.len() || !is_terminated {
            self.ends.push(clusters[length - 1]);
        }
        self.sizes[first as usize] = size;
        Ok(FileAction::Keep)
    }

    /// Claims all clusters from `first` on. Each is claimed once, so this ends.
    fn follow(&mut self, first: u32) -> Result<Chain, FatFault> {
        let mut clusters = vec![];
        let mut cluster = first;
        loop {
            if !self.volume.contains(cluster) {
                return Err(FatFault::NoCluster(cluster));
            }
            let link = self.table.link(cluster);
            match link {
                ClusterLink::Free => return Ok(Chain { clusters, is_terminated: false }),
                ClusterLink::Bad => return Err(FatFault::Bad(cluster)),
                ClusterLink::Next(_) | ClusterLink::End => {}
            }
            let owner = &mut self.owners[cluster as usize];
            if *owner != Owner::Unclaimed {
                return Err(FatFault::Shared(cluster));
            }
            *owner = Owner::InUse;
            clusters.push(cluster);
            let ClusterLink::Next(next) = link else {
                return Ok(Chain { clusters, is_terminated: true });
            };
            cluster = next;
        }
    }

    fn report(&mut self, what: String) {
        if self.reported.len() < MAX_REPORTED {
            self.reported.push(what);
        } else {
            self.unreported += 1;
        }
    }
}

/// A file that a power cut leaves incomplete is a small one of the boot loader, or is named as
/// unfinished. Any other large incomplete file may be a kernel whose table was damaged otherwise,
/// and the other table may still have it: it is left alone.
fn check_truncatable(entry: &DirectoryEntry) -> Result<FileAction, FatFault> {
    match entry.size > MAX_EMPTIED && !is_unfinished(&entry.name) {
        true => Err(FatFault::NotWhole),
        false => Ok(FileAction::Truncate),
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
pub struct WalkResult {
    /// The writes to folders.
    pub writes: Vec<FatWrite>,
    pub done: Vec<String>,
    owners: Vec<Owner>,
    ends: Vec<u32>,
}

impl WalkResult {
    /// Updates the table; returns how many clusters became free.
    pub fn update_table(&self, table: &mut FatTable) -> usize {
        self.ends.iter().for_each(|cluster| table.end(*cluster));
        let unused = |cluster: &u32| self.owners[*cluster as usize] != Owner::InUse;
        let in_use = |link| matches!(link, ClusterLink::Next(_) | ClusterLink::End);
        let lost: Vec<u32> =
            table.numbers().filter(unused).filter(|it| in_use(table.link(*it))).collect();
        lost.iter().for_each(|cluster| table.clear(*cluster));
        lost.len()
    }
}
