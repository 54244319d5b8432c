//! Simulates systemd-boot according to its documentation. Debian 12 has only one
//! release of systemd-boot; the others are simulated.

use octet_esp::boot_counter::SlotEntries;
use octet_esp::medium::Medium;

use crate::flash::{Contents, Flash};
use crate::release::Release;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub slot: String,
    pub linux: Vec<u8>,
    pub initrd: Vec<u8>,
    /// Only U-Boot loads it: empty if the file is missing.
    pub dtb: Option<Vec<u8>>,
    pub entry: String,
}

/// How a release of systemd-boot counts the tries of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// The release of Debian 12, which the image contains.
    Systemd252,
    /// It starts an entry without tries left, and continues to count the finished ones
    /// (systemd/systemd issue 40192).
    Systemd258,
    /// It renames no entry (systemd/systemd issue 40405).
    Systemd259,
}

fn field<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim()
}

/// The entry that the shipped boot loader starts.
pub fn start(contents: &Contents) -> Option<Started> {
    start_by(Counting::Systemd252, contents)
}

/// The entry to start: one without tries left only if there is no other, then the highest version.
/// A missing file counts as empty, and an entry without a kernel is ignored.
pub fn start_by(counting: Counting, contents: &Contents) -> Option<Started> {
    let mut best: Option<((bool, u64), Started)> = None;
    for path in contents.paths() {
        let Some(name) = path.strip_prefix("loader/entries/") else { continue };
        let Some(id) = name.strip_suffix(".conf") else { continue };
        let text = String::from_utf8_lossy(contents.get(path)?).into_owned();
        if field(&text, "linux").is_empty() {
            continue;
        }
        let tries_left = id
            .split_once('+')
            .map(|(_, counter)| counter.split('-').next().unwrap().parse::<u32>().unwrap());
        let has_tries = tries_left != Some(0) || counting == Counting::Systemd258;
        let version = field(&text, "version").split('-').next().unwrap().parse().unwrap_or(0);
        let file = |key| {
            let path = field(&text, key).trim_start_matches('/').to_owned();
            contents.get(&path).unwrap_or_default().to_vec()
        };
        let slot = field(&text, "options").split("octet.slot=").nth(1).unwrap_or_default();
        let started = Started {
            slot: slot.split(' ').next().unwrap().to_owned(),
            linux: file("linux"),
            initrd: file("initrd"),
            dtb: None,
            entry: path.to_owned(),
        };
        if best.as_ref().is_none_or(|(rank, _)| (has_tries, version) > *rank) {
            best = Some(((has_tries, version), started));
        }
    }
    best.map(|(_, started)| started)
}

/// Whether `started` is `release`, with intact files.
pub fn is_whole(started: &Started, release: &Release) -> bool {
    started.slot == release.name()
        && started.linux == release.linux
        && started.initrd == release.initrd
        && (started.dtb == release.dtb || !started.entry.ends_with(".env"))
}

/// What PID 1 does once all base units are ready.
pub fn mark_good(flash: &mut Flash, slot: &str) {
    SlotEntries::read(flash, slot.parse().unwrap()).unwrap().mark_good(flash).unwrap();
}

/// What the shipped boot loader does at each start of a slot on trial.
pub fn count(flash: &mut Flash, slot: &str) {
    count_by(Counting::Systemd252, flash, slot);
}

/// What the boot loader does at each start of a slot on trial.
pub fn count_by(counting: Counting, flash: &mut Flash, slot: &str) {
    if counting == Counting::Systemd259 {
        return;
    }
    let names: Vec<String> = flash.contents().paths().map(str::to_owned).collect();
    let begin = format!("loader/entries/octet-{slot}+");
    let path = names.iter().find(|path| path.starts_with(&begin)).unwrap();
    let counter = path.trim_start_matches(&begin).trim_end_matches(".conf");
    let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
    let (left, done): (u32, u32) = (left.parse().unwrap(), done.parse().unwrap());
    let new = format!("{begin}{}-{}.conf", left.saturating_sub(1), done + 1);
    flash.rename(path, &new).unwrap();
    flash.sync().unwrap();
}
