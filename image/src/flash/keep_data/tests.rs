//! A slot is written onto disks in memory, and the power cut at every write. What starts then is
//! worked out from systemd-boot's documents, on files that mtools has read.

mod boot_state;
mod power;
mod refused;

use std::ops::RangeInclusive;

use super::*;
use crate::output::entry::{LOADER_CONF, SlotProperties};
use crate::output::esp::{EspItem, build};
use crate::output::sparse::Sparse;
use crate::target::Target;
use power::{Power, Tree};

/// About the least that FAT32 can have with the clusters of an image.
const SIZE: u64 = 136 << 20;

const EPOCH: u32 = 1_795_132_800;

/// A slot as it lies on a disk.
#[derive(Clone)]
struct Release {
    manifest: Manifest,
    linux: Vec<u8>,
    initrd: Vec<u8>,
    dtb: Option<Vec<u8>>,
}

/// Bytes that look like nothing, the same for the same `seed`.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

impl Release {
    fn of(sequence: u64, target: Target, linux: Vec<u8>, initrd: Vec<u8>) -> Self {
        let of = SlotProperties { target, version: "1.2.3", sequence, trial: 60 };
        let manifest = crate::output::entry::NamedSlot::new(&of, &linux, &initrd, None);
        Self { manifest: manifest.unwrap().manifest, linux, initrd, dtb: None }
    }

    /// The same with device trees.
    fn with_trees(self, dtb: Vec<u8>) -> Self {
        let (target, sequence) = (Target::QemuX86_64, self.manifest.sequence);
        let of = SlotProperties { target, version: "1.2.3", sequence, trial: 60 };
        let slot = crate::output::entry::NamedSlot::new(&of, &self.linux, &self.initrd, Some(&dtb));
        Self { manifest: slot.unwrap().manifest, dtb: Some(dtb), ..self }
    }

    fn number(sequence: u64) -> Self {
        let (linux, initrd) = (noise(sequence, 9_000), noise(100 + sequence, 12_345));
        Self::of(sequence, Target::QemuX86_64, linux, initrd)
    }

    fn name(&self) -> &SlotName {
        &self.manifest.slot
    }

    fn entry(&self, counter: &str) -> String {
        format!("loader/entries/octet-{}{counter}.conf", self.name())
    }

    /// Its files on a disk where its entry has this counter.
    fn files(&self, counter: &str) -> Tree {
        let of = SlotProperties {
            target: Target::QemuX86_64,
            version: "1.2.3",
            sequence: self.manifest.sequence,
            trial: 60,
        };
        let dtb = self.dtb.as_deref();
        let slot = crate::output::entry::NamedSlot::new(&of, &self.linux, &self.initrd, dtb);
        let slot = slot.unwrap();
        let trees = self.dtb.clone().map(|dtb| (self.name().file(SlotFile::Dtb), dtb));
        let always = [
            (self.name().file(SlotFile::Linux), self.linux.clone()),
            (self.name().file(SlotFile::Initrd), self.initrd.clone()),
            (self.name().manifest(), self.manifest.render()),
            (self.entry(counter), slot.entry().into_bytes()),
        ];
        always.into_iter().chain(trees).collect()
    }
}

fn volume(files: &Tree) -> Sparse {
    let mut folders: Vec<String> = vec![];
    for path in files.keys() {
        for (at, _) in path.match_indices('/') {
            if !folders.contains(&path[..at].to_owned()) {
                folders.push(path[..at].to_owned());
            }
        }
    }
    let folders = folders.into_iter().map(|path| EspItem { path, content: None });
    let files =
        files.iter().map(|(path, content)| EspItem { path: path.clone(), content: Some(content) });
    build(SIZE, EPOCH, &folders.chain(files).collect::<Vec<_>>()).unwrap()
}

fn layout() -> PartitionLayout {
    PartitionLayout { esp: 0..SIZE, data: Some(SIZE), boot_state: None }
}

/// What else is on the partition of a box.
fn besides() -> Tree {
    [
        ("EFI/BOOT/BOOTX64.EFI", noise(50, 5_000)),
        ("loader/loader.conf", LOADER_CONF.into()),
        ("octet/node.pub", b"did:key:z6Mk\n".to_vec()),
        ("octet/board.toml", b"board = 3\n".to_vec()),
        ("Notes of the owner.txt", noise(51, 3_000)),
    ]
    .map(|(path, content)| (path.to_owned(), content))
    .into()
}

/// A disk with these slots.
fn disk(slots: &[(&Release, &str)]) -> Power {
    let files = slots.iter().flat_map(|(release, counter)| release.files(counter));
    Power::new(volume(&besides().into_iter().chain(files).collect()))
}

fn image(release: &Release) -> Power {
    Power::new(volume(&release.files("+3")))
}

fn decide(image: &Power, disk: &Power) -> Result<KeepDataPlan, KeepDataError> {
    plan_slot_update((image, &layout()), (disk, Some(layout())))
}

fn flash(image: &Power, disk: &Power) -> Result<u64, FlashFault> {
    let keep = decide(image, disk).unwrap();
    keep.apply((image, &layout()), disk)
}

/// The files that start next: one without tries only if there is no other, then the highest version.
fn starts(tree: &Tree) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut all = vec![];
    for (path, text) in tree {
        let Some(name) = path.strip_prefix("loader/entries/") else { continue };
        let Some(name) = name.strip_suffix(".conf") else { continue };
        let text = String::from_utf8_lossy(text);
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        let file = |key| tree.get(field(key).trim_start_matches('/')).cloned();
        let has_tries = name.split_once('+').is_none_or(|(_, counter)| !counter.starts_with('0'));
        let sequence: u64 = field("version ").split('-').next()?.parse().unwrap_or(0);
        if !field("linux ").is_empty() {
            all.push((has_tries, sequence, file("linux ").zip(file("initrd "))));
        }
    }
    all.into_iter().max_by_key(|(has_tries, sequence, _)| (*has_tries, *sequence))?.2
}

fn is(started: &Option<(Vec<u8>, Vec<u8>)>, release: &Release) -> bool {
    started
        .as_ref()
        .is_some_and(|(linux, initrd)| *linux == release.linux && *initrd == release.initrd)
}

fn holds(tree: &Tree, files: &Tree) -> bool {
    files.iter().all(|(path, content)| tree.get(path) == Some(content))
}

#[test]
fn only_the_slot_and_its_entry_come() {
    let [older, running, failed] = [1, 2, 3].map(Release::number);
    // Older than what is there, and with the kernel of one of them.
    let new = Release::of(1, Target::QemuX86_64, older.linux.clone(), noise(9, 20_000));
    let disk = disk(&[(&older, ""), (&running, ""), (&failed, "+0-3")]);
    let scratch = disk.scratch();
    let (before, found) = disk.look(scratch.path());
    assert_eq!(found, None);
    assert!(is(&starts(&before), &running));

    let keep = decide(&image(&new), &disk).unwrap();
    assert_eq!(
        (&keep.work, &keep.removed, keep.fallback.as_ref()),
        (&SlotWork::Write, &vec![], Some(running.name()))
    );
    keep.apply((&image(&new), &layout()), &disk).unwrap();
    let (mut after, found) = disk.look(scratch.path());
    assert_eq!(found, None);
    assert!(is(&starts(&after), &new));
    let entry = String::from_utf8(after.remove(&new.entry("+3")).unwrap()).unwrap();
    assert!(entry.contains("octet.trial=60\n") && entry.contains("version      4-"), "{entry}");
    assert!(entry.contains(&format!("/{}\n", older.name().file(SlotFile::Linux))), "{entry}");
    assert_eq!(after.remove(&new.name().file(SlotFile::Initrd)).as_ref(), Some(&new.initrd));
    let manifest = Manifest::parse(&after.remove(&new.name().manifest()).unwrap()).unwrap();
    assert_eq!(manifest, Manifest { sequence: 4, ..new.manifest.clone() });
    assert_eq!(after, before);

    // Once more there is nothing to do.
    let keep = decide(&image(&new), &disk).unwrap();
    assert!(keep.is_done() && keep.work == SlotWork::Unchanged, "{keep:?}");
    let changes = disk.changes.get();
    assert_eq!(keep.apply((&image(&new), &layout()), &disk).unwrap(), 0);
    assert_eq!(disk.changes.get(), changes);
}

/// Which sectors of what was not synced survive a cut: those that chance says; in the long tier all
/// and none, too.
fn choices() -> RangeInclusive<u64> {
    if std::env::var_os("OCTET_SOAK").is_some() { 0..=2 } else { 2..=2 }
}

/// Cuts after `made` changes, and returns how often the new one started.
fn cut(
    image: &Power,
    disk: &Power,
    made: usize,
    (whole, new, old): (&Tree, &Release, &Release),
) -> usize {
    let scratch = disk.scratch();
    let kept: Tree = besides().into_iter().chain(old.files("")).collect();
    let mut new_starts = 0;
    for choice in choices() {
        disk.reset();
        disk.cut_after(made);
        assert!(flash(image, disk).is_err(), "{made}");
        let mut chance = noise(1000 * made as u64 + choice, 20_000).into_iter();
        disk.back(|| choice == 0 || choice > 1 && chance.next().is_some_and(|it| it & 4 == 0));
        let at = format!("after {made} changes, choice {choice}");
        let tree = disk.files(scratch.path());
        let started = starts(&tree);
        new_starts += usize::from(is(&started, new));
        assert!(is(&started, old) || is(&started, new), "{at}: {:?}", tree.keys());
        assert!(holds(&tree, &kept), "{at}");
        // And the next time it gets there, with nothing left of this one.
        flash(image, disk).expect(&at);
        let (tree, found) = disk.look(scratch.path());
        assert_eq!(found, None, "{at}");
        assert!(tree == *whole, "{at}: {:?}", tree.keys());
    }
    new_starts
}

#[test]
fn after_any_write_old_or_new_starts() {
    let [old, damaged, new] = [1, 2, 3].map(Release::number);
    let mut files: Tree = besides().into_iter().chain(old.files("")).collect();
    files.extend(damaged.files("+0-3"));
    files.get_mut(&damaged.name().file(SlotFile::Initrd)).unwrap()[777] ^= 1;
    let made = || (image(&new), Power::new(volume(&files)));
    let (image, disk) = made();
    flash(&image, &disk).unwrap();
    let changes = disk.changes.get();
    let (whole, _) = disk.look(disk.scratch().path());
    assert!(!whole.contains_key(&damaged.entry("+0-3")), "nothing is removed");
    println!("{changes} changes");
    assert!(changes > 20, "{changes}");
    let releases = (&whole, &new, &old);
    let some = |first: usize| {
        let (image, disk) = made();
        (first..changes).step_by(2).map(|made| cut(&image, &disk, made, releases)).sum::<usize>()
    };
    let new_starts: usize = std::thread::scope(|scope| {
        let threads = [0, 1].map(|first| scope.spawn(move || some(first)));
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    println!("of {} times the new one {new_starts} times", changes * choices().count());
    assert!(new_starts >= 3 && new_starts < changes, "{new_starts}");
}

#[test]
fn a_slot_that_failed_is_tried_again() {
    let [only, other] = [1, 2].map(Release::number);
    let with = disk(&[(&only, "+0-3")]);
    let keep = decide(&image(&only), &with).unwrap();
    assert!(matches!(keep.work, SlotWork::ResetTries(_)) && keep.removed.is_empty(), "{keep:?}");
    keep.apply((&image(&only), &layout()), &with).unwrap();
    let (tree, found) = with.look(with.scratch().path());
    assert_eq!(found, None);
    assert_eq!(tree, besides().into_iter().chain(only.files("+3")).collect());

    // Beside it another one has no trial: there is none that was good to go back to.
    let with = disk(&[(&only, "+0-3")]);
    flash(&image(&other), &with).unwrap();
    let (tree, _) = with.look(with.scratch().path());
    assert!(holds(&tree, &only.files("+0-3")) && is(&starts(&tree), &other));
    assert!(!String::from_utf8_lossy(&tree[&other.entry("+3")]).contains("octet.trial"));
}

#[test]
fn an_older_slot_that_is_there_is_written_anew() {
    let [older, running] = [1, 2].map(Release::number);
    let with = disk(&[(&older, ""), (&running, "")]);
    let keep = decide(&image(&older), &with).unwrap();
    assert_eq!((&keep.work, keep.fallback.as_ref()), (&SlotWork::Write, Some(running.name())));
    keep.apply((&image(&older), &layout()), &with).unwrap();
    let (tree, found) = with.look(with.scratch().path());
    assert_eq!(found, None);
    assert!(is(&starts(&tree), &older) && holds(&tree, &running.files("")));
    assert!(!tree.contains_key(&older.entry("")));
}

#[test]
fn nothing_is_taken_from_a_slot_that_is_damaged() {
    let [older, running] = [1, 2].map(Release::number);
    let new = Release::of(7, Target::QemuX86_64, running.linux.clone(), noise(9, 4_000));
    let mut files: Tree = besides();
    files.extend(older.files(""));
    files.extend(running.files(""));
    files.get_mut(&running.name().file(SlotFile::Linux)).unwrap()[4_567] ^= 1;
    let with = Power::new(volume(&files));
    let keep = decide(&image(&new), &with).unwrap();
    assert_eq!(
        (&keep.removed[..], keep.fallback.as_ref()),
        (&[running.name().clone()][..], Some(older.name()))
    );
    keep.apply((&image(&new), &layout()), &with).unwrap();
    let (tree, found) = with.look(with.scratch().path());
    assert_eq!(found, None);
    assert!(is(&starts(&tree), &new) && holds(&tree, &older.files("")));
    // The one that is damaged is mended by an image of the same slot.
    let with = Power::new(volume(&files));
    flash(&image(&running), &with).unwrap();
    let (tree, _) = with.look(with.scratch().path());
    assert!(is(&starts(&tree), &running) && holds(&tree, &older.files("")));
}
