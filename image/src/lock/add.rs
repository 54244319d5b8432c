//! A further Debian package in the lock.

use std::fmt::Write as _;
use std::path::Path;

use miette::Diagnostic;
use octet_machine::Architecture;
use toml::{Spanned, Value};

use super::update::diff;
use super::{Input, InputSource, Lock};
use crate::appliance_file::Mistake;
use crate::digest::Sha256;
use crate::output::file;
use crate::steps::Steps;
use crate::store::{Fetched, InputStore};

/// The package cannot be added.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the lock has the Debian package `{0}` already")]
#[diagnostic(help("`cargo image lock --update {0}` takes the version that is published now"))]
struct AlreadyLocked(String);

/// Fetches the Debian package `name` as it is published now, for every architecture, and writes that into
/// the lock at `path`. Returns what changed, as a diff.
pub fn add(path: &Path, lock: &Lock, name: &str, store: &InputStore) -> miette::Result<String> {
    let is_it = |input: &Input| input.source.is_debian() && input.name.get_ref() == name;
    if lock.content.input.iter().any(is_it) {
        return Err(AlreadyLocked(name.to_owned()).into());
    }
    let (mut text, steps) = (lock.text.clone(), Steps::new());
    for architecture in Architecture::ALL {
        let fetched = store.fetch_new(&unknown(name, architecture), None, &steps)?;
        text += &section(name, architecture, &fetched);
    }
    // What is written is what can be read.
    let new = Lock::parse(&lock.file, text).map_err(Mistake::from)?;
    file::write(path, new.text.as_bytes())?;
    Ok(diff(&lock.text, &new.text))
}

/// The package, before anything but its name is known.
fn unknown(name: &str, architecture: Architecture) -> Input {
    Input {
        name: Spanned::new(0..0, name.to_owned()),
        source: InputSource::Deb,
        architecture: Some(architecture),
        target: None,
        version: String::new(),
        file: String::new(),
        size: 0,
        sha256: Spanned::new(0..0, Sha256::of(b"")),
    }
}

/// An input as the lock has it.
fn section(name: &str, architecture: Architecture, fetched: &Fetched) -> String {
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    let mut text = "\n[[input]]\n".to_owned();
    for (key, value) in [
        ("name", quoted(name)),
        ("source", quoted("deb")),
        ("architecture", quoted(architecture.name())),
        ("version", quoted(&fetched.version)),
        ("file", quoted(&fetched.file)),
        ("size", fetched.size.to_string()),
        ("sha256", quoted(&fetched.sha256.to_string())),
    ] {
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::SMALL;
    use crate::target::Target;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_added_is_read(name in "[ -~]{1,20}", version in "[ -~]{0,20}", size in 0..1u64 << 62) {
            let sha256 = Sha256::of(version.as_bytes());
            let fetched = Fetched { version: version.clone(), file: name.clone(), size, sha256 };
            let text = SMALL.to_owned() + &section(&name, Architecture::Aarch64, &fetched);
            let lock = Lock::parse("appliance.lock", text).unwrap();
            let all: Vec<_> = lock.debs(Target::QemuAarch64).collect();
            prop_assert_eq!(all.len(), 1);
            prop_assert_eq!((all[0].name.get_ref(), &all[0].version), (&name, &version));
            prop_assert_eq!((all[0].size, *all[0].sha256.get_ref()), (size, sha256));
        }
    }
}
