//! The present content of the EFI system partition.

use std::collections::BTreeMap;
use std::io;

use octet_bundle::{
    Digest, ENTRIES, EntryName, MAX_HEAD, Manifest, ParsedEntry, SLOTS, SlotFile, SlotName,
    SlotState,
};

use crate::boot_counter::{complete, read_env};
use crate::boot_state::{BootState, SlotPlace};
use crate::medium::Medium;

/// Maximum bytes of an entry that are read.
pub const MAX_ENTRY: u64 = 16 << 10;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EspContents {
    /// Slots that have an entry, and that the boot state names if there is one.
    pub slots: Vec<PresentSlot>,
    /// Files in folders of slots, by path, with their sizes: also those that no entry names.
    pub files: BTreeMap<String, u64>,
    /// Folders of slots, also those without an entry.
    pub folders: Vec<String>,
    /// Unfinished entries, which the boot loader ignores.
    pub unfinished: Vec<String>,
    pub free: u64,
    /// The boot state, if it counts the tries.
    pub boot_state: Option<BootState>,
}

/// A slot that has an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentSlot {
    pub name: SlotName,
    /// Its entries, by path: one, or two after a power cut within a rename.
    pub entries: Vec<String>,
    pub state: SlotState,
    /// The sort key of the boot loader.
    pub sequence: u64,
    /// The files that its entries name, and its device trees.
    pub files: Vec<String>,
    /// Its manifest, if it can be read.
    pub manifest: Option<Manifest>,
}

/// An entry of a slot.
#[derive(Debug)]
pub struct PresentEntry {
    pub path: String,
    pub name: EntryName,
    content: ParsedEntry,
}

impl PresentEntry {
    /// Whether the boot loader skips it.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

/// All entries with names of ours.
///
/// # Errors
/// The medium refuses.
pub fn entries(medium: &impl Medium) -> io::Result<Vec<PresentEntry>> {
    let mut entries = vec![];
    for item in medium.list(ENTRIES)? {
        let Some(name) = EntryName::parse(&item.name) else { continue };
        let path = format!("{ENTRIES}/{}", item.name);
        let text = medium.read(&path, MAX_ENTRY)?;
        let content = ParsedEntry::parse(&String::from_utf8_lossy(&text));
        entries.push(PresentEntry { path, name, content });
    }
    Ok(entries)
}

impl PresentSlot {
    /// The path of its file `kind`.
    pub fn path(&self, kind: SlotFile) -> Option<&String> {
        let end = format!("/{}", kind.name());
        self.files.iter().find(|path| path.ends_with(&end))
    }

    /// Whether it was good once.
    pub fn is_good(&self) -> bool {
        self.state == SlotState::Good
    }
}

impl EspContents {
    /// Reads the content of `medium`.
    ///
    /// # Errors
    /// The medium refuses, or there is no valid boot state. An invalid manifest or entry is ignored.
    pub fn read(medium: &impl Medium) -> io::Result<Self> {
        let mut present = Self { free: medium.free()?, ..Self::default() };
        let mut slots = BTreeMap::<SlotName, PresentSlot>::new();
        for item in medium.list(ENTRIES)? {
            if item.name.starts_with("octet-") && item.name.ends_with(".new") {
                present.unfinished.push(format!("{ENTRIES}/{}", item.name));
            }
        }
        for entry in entries(medium)? {
            if entry.is_empty() {
                present.unfinished.push(entry.path);
                continue;
            }
            let PresentEntry { path, name, content } = entry;
            let slot = slots.entry(name.slot.clone()).or_insert_with(|| PresentSlot {
                name: name.slot,
                entries: vec![],
                state: name.state,
                sequence: content.sequence,
                files: vec![],
                manifest: None,
            });
            if name.state == SlotState::Good {
                slot.state = SlotState::Good;
            }
            slot.entries.push(path);
            slot.files.extend(content.files);
        }
        for item in medium.list(SLOTS)?.into_iter().filter(|item| item.size.is_none()) {
            let folder = format!("{SLOTS}/{}", item.name);
            for file in medium.list(&folder)? {
                let path = format!("{folder}/{}", file.name);
                present.files.insert(path, file.size.unwrap_or(0));
            }
            present.folders.push(folder);
        }
        for slot in slots.values_mut() {
            let path = slot.name.manifest();
            if present.files.contains_key(&path) {
                let text = medium.read(&path, MAX_HEAD as u64)?;
                slot.manifest = Manifest::parse(&text).ok().filter(|it| it.slot == slot.name);
            }
        }
        present.slots = slots.into_values().collect();
        present.find_device_trees(medium)?;
        complete(medium, &mut present)?;
        Ok(present)
    }

    /// Adds the device trees to the files of slots. No entry names them: the file of a slot's place does,
    /// and if it has none, they are in its folder.
    fn find_device_trees(&mut self, medium: &impl Medium) -> io::Result<()> {
        let end = format!("/{}", SlotFile::Dtb.name());
        if !self.files.keys().any(|path| path.ends_with(&end)) {
            return Ok(());
        }
        let [a, b] = SlotPlace::BOTH.map(|place| read_env(medium, place));
        let envs = [a?, b?];
        // A slot whose manifest cannot be read may have some.
        let may_have = |slot: &&mut PresentSlot| {
            slot.manifest.as_ref().is_none_or(|manifest| manifest.files.dtb.is_some())
        };
        for slot in self.slots.iter_mut().filter(may_have) {
            let env = envs.iter().flatten().find(|env| env.slot == slot.name);
            let path = match env.and_then(|env| env.dtb.as_ref()) {
                Some(path) => path.trim_start_matches('/').to_owned(),
                None => slot.name.file(SlotFile::Dtb),
            };
            if self.files.contains_key(&path) {
                slot.files.push(path);
            }
        }
        Ok(())
    }

    pub fn slot(&self, name: &str) -> Option<&PresentSlot> {
        self.slots.iter().find(|slot| slot.name.as_str() == name)
    }

    /// The slot to return to: the newest good one other than `running`.
    pub fn last_good(&self, running: &str) -> Option<&PresentSlot> {
        let others =
            self.slots.iter().filter(|slot| slot.is_good() && slot.name.as_str() != running);
        others.max_by_key(|slot| slot.sequence)
    }

    /// The slot that the boot loader starts next: by the boot state if there is one
    /// ([`BootState::start_order`]). Otherwise those without tries come last, and the highest
    /// sequence comes first (systemd-boot(7), "Sorting").
    pub fn next(&self) -> Option<&PresentSlot> {
        if let Some(state) = &self.boot_state {
            let slots = state.start_order().into_iter().filter_map(|place| state.slot(place));
            return slots.filter_map(|placed| self.slot(placed.name.as_str())).next();
        }
        let has_tries =
            |slot: &PresentSlot| !matches!(slot.state, SlotState::Trying { left: 0, .. });
        self.slots.iter().max_by_key(|slot| (has_tries(slot), slot.sequence))
    }

    /// The highest floor in the manifests of slots that were good.
    pub fn floor(&self) -> u64 {
        let good = self.slots.iter().filter(|slot| slot.is_good());
        good.filter_map(|slot| Some(slot.manifest.as_ref()?.floor)).max().unwrap_or(0)
    }

    /// The file of some slot with this digest, according to the slot's manifest, and its size; not
    /// one of `removed`.
    pub fn file(&self, sha256: Digest, removed: &[String]) -> Option<(&str, u64)> {
        self.slots.iter().find_map(|slot| {
            let manifest = slot.manifest.as_ref()?;
            manifest.files.all().find_map(|(kind, file)| {
                let path = slot.path(kind).filter(|path| !removed.contains(path))?;
                let is_it = file.sha256 == sha256 && self.files.get(path) == Some(&file.size);
                is_it.then_some((path.as_str(), file.size))
            })
        })
    }

    /// Files that are not needed if only the slots of `kept` stay: no entry of these names them,
    /// and they are not their manifests.
    pub fn unneeded<'a>(
        &'a self,
        kept: &'a [&PresentSlot],
    ) -> impl Iterator<Item = (&'a str, u64)> {
        let is_needed = |path: &str| {
            kept.iter().any(|slot| {
                slot.files.iter().any(|file| file == path) || slot.name.manifest() == path
            })
        };
        let files = self.files.iter().map(|(path, size)| (path.as_str(), *size));
        files.filter(move |(path, _)| !is_needed(path))
    }

    /// Folders that are empty once unneeded files are removed.
    pub fn emptied_folders<'a>(
        &'a self,
        kept: &'a [&PresentSlot],
    ) -> impl Iterator<Item = &'a str> {
        let removed: Vec<&str> = self.unneeded(kept).map(|(path, _)| path).collect();
        let stays = move |folder: &str| {
            let mut files = self
                .files
                .keys()
                .filter(|path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
            files.any(|path| !removed.contains(&path.as_str()))
        };
        self.folders.iter().map(String::as_str).filter(move |folder| !stays(folder))
    }
}
