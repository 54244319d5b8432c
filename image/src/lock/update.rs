//! Writing the lock anew.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use miette::Diagnostic;

use super::{Lock, Toolchain};
use crate::appliance_file::Mistake;
use crate::digest::Sha256;
use crate::output::file;
use crate::store::{Store, platform};

/// The lock cannot be brought up to date.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum UpdateError {
    /// The name is not one of the lock's.
    #[error("the lock has no input `{name}`")]
    #[diagnostic(help("{hint}"))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The nearest ones.
        hint: String,
    },
    /// The clock is before 1970 or after 2106, or the new lock could not be read back.
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
    store: &Store,
) -> miette::Result<String> {
    let mut content = lock.content.clone();
    if let Some(wanted) = name {
        let (name, version) = match wanted.split_once("==") {
            Some((name, version)) => (name, Some(version)),
            None => (wanted, None),
        };
        let mut inputs: Vec<_> =
            content.input.iter_mut().filter(|input| input.name.get_ref() == name).collect();
        if inputs.is_empty() {
            let near = lock.nearest(name);
            let hint = if near.is_empty() {
                let names: Vec<_> =
                    lock.content.input.iter().map(|i| i.name.get_ref().as_str()).collect();
                format!("it has: {}", names.join(", "))
            } else {
                format!("the nearest names are: {}", near.join(", "))
            };
            return Err(UpdateError::Unknown { name: name.to_owned(), hint }.into());
        }
        for input in &mut inputs {
            let version = version.unwrap_or(&input.version).to_owned();
            let fetched = store.fetch_new(name, &version, platform(&input.file))?;
            input.version = version;
            input.file = fetched.file;
            input.size = fetched.size;
            input.sha256 = toml::Spanned::new(0..0, fetched.sha256);
        }
    }
    let version = |name: &str| {
        let inputs = content.input.iter().find(|input| input.name.get_ref() == name);
        inputs.map(|input| input.version.clone()).unwrap_or_default()
    };
    content.toolchain = Toolchain::here(&version("ziglang"), &version("cargo-zigbuild"))?;
    content.epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|now| u32::try_from(now.as_secs()).ok())
        .ok_or(UpdateError::Clock("the clock is before 1970 or after 2106"))?;
    let text = content.render();
    Lock::parse(&lock.file, text.clone()).map_err(Mistake::from)?;
    if Sha256::of(text.as_bytes()) != Sha256::of(lock.text.as_bytes()) {
        file::write(path, text.as_bytes())?;
    }
    Ok(diff(&lock.text, &text))
}

/// The lines that differ, old ones with `-`, new ones with `+`, each with the last heading before
/// it: the lock is a list of short sections, in which the order never changes.
fn diff(old: &str, new: &str) -> String {
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
    fn shows_what_differs() {
        assert_eq!(diff("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(diff("a\nb\nc\nd\n", "a\nx\nc\ny\n"), "-b\n+x\n-d\n+y\n");
        assert_eq!(diff("a\nb\n", "a\nx\ny\nb\n"), "+x\n+y\n");
    }
}
