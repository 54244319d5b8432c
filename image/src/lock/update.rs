//! Writing the lock anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use miette::Diagnostic;

use super::edit::Edit;
use super::{Input, Lock, Toolchain};
use crate::appliance_file::Mistake;
use crate::output::file;
use crate::steps::Steps;
use crate::store::{Fetched, InputStore};

/// The package with the boot loader.
const BOOT_LOADER: &str = "systemd-boot-efi";

/// The lock cannot be brought up to date.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum LockUpdateError {
    /// The name is not one of the lock's.
    #[error("the lock has no input `{name}`")]
    #[diagnostic(help("{hint}"))]
    Unknown { name: String, hint: String },
    /// The clock is before 1970 or after 2106.
    #[error("{0}")]
    #[diagnostic(help("set the clock"))]
    Clock(&'static str),
}

/// Writes the lock at `path` anew: the toolchain and the date, and, if given, the input `name`
/// (`NAME` or `NAME==VERSION`) as it is published now. Returns what changed, as a diff.
pub fn update(
    path: &Path,
    lock: &Lock,
    name: Option<&str>,
    store: &InputStore,
) -> miette::Result<String> {
    let mut edit = Edit::new(&lock.file, &lock.text).map_err(Mistake::from)?;
    let mut versions: BTreeMap<&str, String> = BTreeMap::new();
    for input in &lock.content.input {
        versions.insert(input.name.get_ref(), input.version.clone());
    }
    if let Some(wanted) = name {
        let (name, version) = match wanted.split_once("==") {
            Some((name, version)) => (name, Some(version)),
            None => (wanted, None),
        };
        let inputs = lock.content.input.iter().filter(|input| input.name.get_ref() == name);
        let inputs: Vec<_> = inputs.collect();
        if inputs.is_empty() {
            return Err(unknown(lock, name).into());
        }
        let steps = Steps::new();
        for input in inputs {
            let fetched = store.fetch_new(input, version, &steps)?;
            versions.insert(input.name.get_ref(), fetched.version.clone());
            edit.input(input, &fetched);
        }
    }
    let version = |name: &str| versions.get(name).cloned().unwrap_or_default();
    edit.toolchain(&Toolchain::detect(&version("ziglang"))?);
    let epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|now| u32::try_from(now.as_secs()).ok())
        .ok_or(LockUpdateError::Clock("the clock is before 1970 or after 2106"))?;
    edit.epoch(epoch);
    let (_, mut diff) = write(path, lock, edit)?;
    let before = lock.content.input.iter().filter(|input| input.name.get_ref() == BOOT_LOADER);
    let moved = before.map(|input| (input.version.as_str(), version(BOOT_LOADER)));
    diff.extend(moved.filter_map(|(before, after)| boot_loader_notice(before, &after)).next());
    Ok(diff)
}

/// What is to be done before a boot loader of another release ships. It counts how often a slot on trial was tried, and
/// not all releases do so as Debian 12's does: with 258 an entry starts that has no tries left
/// (systemd/systemd issue 40192), and 259 counts none (issue 40405).
fn boot_loader_notice(before: &str, after: &str) -> Option<String> {
    // The version of the program itself, before Debian's revision and what it has patched.
    let release = |version: &str| version.split(['.', '-', '~']).next().map(str::to_owned);
    let (old, new) = (release(before)?, release(after)?);
    (old != new).then(|| {
        format!(
            "note: systemd-boot {new} instead of {old} counts the tries of a new slot, and releases differ in that (258 \
             and 259 do not bring back the slot before): before it ships, `cargo image test --soak board::disk` and \
             `cargo image test --soak update::` have to pass with it\n"
        )
    })
}

/// Writes into the lock at `path` that `input` was succeeded by what was fetched. Returns the new
/// lock and what changed, as a diff.
pub fn record_successor(
    path: &Path,
    lock: &Lock,
    input: &Input,
    fetched: &Fetched,
) -> miette::Result<(Lock, String)> {
    let mut edit = Edit::new(&lock.file, &lock.text).map_err(Mistake::from)?;
    edit.input(input, fetched);
    write(path, lock, edit)
}

fn write(path: &Path, lock: &Lock, edit: Edit) -> miette::Result<(Lock, String)> {
    let text = edit.finish();
    // What is written is what can be read.
    let new = Lock::parse(&lock.file, text).map_err(Mistake::from)?;
    if new.text != lock.text {
        file::write(path, new.text.as_bytes())?;
    }
    let diff = diff(&lock.text, &new.text);
    Ok((new, diff))
}

fn unknown(lock: &Lock, name: &str) -> LockUpdateError {
    let near = lock.nearest(name);
    let hint = if near.is_empty() {
        let mut names: Vec<_> =
            lock.content.input.iter().map(|input| input.name.get_ref().as_str()).collect();
        names.dedup();
        format!("it has: {}", names.join(", "))
    } else {
        format!("the nearest names are: {}", near.join(", "))
    };
    LockUpdateError::Unknown { name: name.to_owned(), hint }
}

/// The lines that differ, old ones with `-`, new ones with `+`, each with the last heading before
/// it: the lock is a list of short sections, in which the order never changes.
pub(super) fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same_head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[same_head..], &new[same_head..]);
    let same_tail =
        old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) =
        (&old_rest[..old_rest.len() - same_tail], &new_rest[..new_rest.len() - same_tail]);
    let mut text = String::new();
    if old_rest.len() == new_rest.len() {
        for (a, b) in old_rest.iter().zip(new_rest).filter(|(a, b)| a != b) {
            let _ = writeln!(text, "-{a}\n+{b}");
        }
    } else {
        for line in old_rest {
            let _ = writeln!(text, "-{line}");
        }
        for line in new_rest {
            let _ = writeln!(text, "+{line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_boot_loader_is_not_taken_unsaid() {
        let debian = "252.39-1~deb12u2";
        for same in ["252.39-1~deb12u2", "252.40-1~deb12u1", "252-1"] {
            assert_eq!(boot_loader_notice(debian, same), None, "{same}");
        }
        for other in ["257.8-1~deb13u2", "258~rc1-1", "259-1"] {
            let note = boot_loader_notice(debian, other).unwrap();
            assert!(note.contains("--soak board::disk") && note.contains(&other[..3]), "{note}");
        }
    }

    #[test]
    fn shows_what_differs() {
        assert_eq!(diff("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(diff("a\nb\nc\nd\n", "a\nx\nc\ny\n"), "-b\n+x\n-d\n+y\n");
        assert_eq!(diff("a\nb\n", "a\nx\ny\nb\n"), "+x\n+y\n");
    }
}
