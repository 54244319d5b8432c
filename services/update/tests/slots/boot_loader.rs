//! What systemd-boot and PID 1 do with a medium, worked out from their documents.

use octet_esp::medium::Medium;

use crate::flash::{Contents, Flash};
use crate::release::Release;

/// What starts next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub slot: String,
    pub linux: Vec<u8>,
    pub initrd: Vec<u8>,
    pub entry: String,
}

fn field<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim()
}

/// The entry that is taken: one without tries only if there is no other, then the highest version.
/// A file that is missing is empty, and an entry that names no kernel is none.
pub fn start(contents: &Contents) -> Option<Started> {
    let mut best: Option<((bool, u64), Started)> = None;
    for path in contents.paths() {
        let Some(name) = path.strip_prefix("loader/entries/") else { continue };
        let Some(id) = name.strip_suffix(".conf") else { continue };
        let text = String::from_utf8_lossy(contents.get(path)?).into_owned();
        if field(&text, "linux").is_empty() {
            continue;
        }
        let has_tries = id.split_once('+').is_none_or(|(_, counter)| {
            counter.split('-').next().unwrap().parse::<u32>().unwrap() > 0
        });
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
            entry: path.to_owned(),
        };
        if best.as_ref().is_none_or(|(rank, _)| (has_tries, version) > *rank) {
            best = Some(((has_tries, version), started));
        }
    }
    best.map(|(_, started)| started)
}

/// Whether `started` is `release`, whole.
pub fn is_whole(started: &Started, release: &Release) -> bool {
    started.slot == release.name()
        && started.linux == release.linux
        && started.initrd == release.initrd
}

/// What PID 1 does once all base units are ready: the entry gets the name of a good one.
pub fn mark_good(flash: &mut Flash, slot: &str) {
    let names: Vec<String> = flash.contents().paths().map(str::to_owned).collect();
    let begin = format!("loader/entries/octet-{slot}+");
    if let Some(path) = names.iter().find(|path| path.starts_with(&begin)) {
        let text = flash.contents().get(path).unwrap().to_vec();
        flash.put(&format!("loader/entries/octet-{slot}.conf"), &text);
        flash.remove(path).unwrap();
        flash.sync().unwrap();
    }
}

/// What the boot loader does at each start of a slot that is tried.
pub fn count(flash: &mut Flash, slot: &str) {
    let names: Vec<String> = flash.contents().paths().map(str::to_owned).collect();
    let begin = format!("loader/entries/octet-{slot}+");
    let path = names.iter().find(|path| path.starts_with(&begin)).unwrap();
    let counter = path.trim_start_matches(&begin).trim_end_matches(".conf");
    let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
    let (left, done): (u32, u32) = (left.parse().unwrap(), done.parse().unwrap());
    let new = format!("{begin}{}-{}.conf", left - 1, done + 1);
    flash.rename(path, &new).unwrap();
    flash.sync().unwrap();
}
