//! Seeing that everything an image is made from is in the store.

use std::path::Path;

use miette::Diagnostic;

use super::inputs::BuildInputs;
use crate::lock::{Input, Lock, record_successor};
use crate::steps::Steps;
use crate::store::{InputStore, InputStoreError, is_newer};

/// A Debian package that is offered no more, and of which only an older version is.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("input `{name}` {version} is not offered any more, and {offered}, which is, is not newer")]
#[diagnostic(help(
    "see that no source of apt is missing (`apt-cache policy`); \
     `cargo image lock --update {name}` takes {offered} nevertheless"
))]
struct NotNewer {
    name: String,
    version: String,
    offered: String,
}

/// Fetches what is missing. A Debian package that was replaced in the archive, as every point
/// release does, is succeeded by what is offered now, and the lock at `path` says so from then on;
/// unless what is `locked` is to be used and nothing else.
pub fn fetch(
    inputs: &mut BuildInputs,
    path: &Path,
    locked: bool,
    steps: &Steps,
) -> miette::Result<()> {
    let seed = inputs.lock.seed(inputs.target)?;
    let all = inputs.lock.debs(inputs.target).chain([seed, inputs.lock.tool("ziglang")?]);
    let missing: Vec<_> = all.filter(|input| !inputs.store.contains(input)).collect();
    if !missing.is_empty() && !inputs.store.offline() {
        let bytes: u64 = missing.iter().map(|input| input.size).sum();
        let megabytes = bytes as f64 / 1e6;
        steps.note(&format!("{} inputs are to be fetched, {megabytes:.1} MB", missing.len()));
    }
    inputs.store.ensure(&inputs.lock, seed, steps)?;
    // By number: the lock may change on the way, though not in its order.
    for number in 0..inputs.lock.debs(inputs.target).count() {
        let Some(deb) = inputs.lock.debs(inputs.target).nth(number).cloned() else { break };
        ensure_package((&mut inputs.lock, path), &deb, &inputs.store, locked, steps)?;
    }
    Ok(())
}

/// Fetches one Debian package, or its successor, if it is missing.
pub fn ensure_package(
    (lock, path): (&mut Lock, &Path),
    package: &Input,
    store: &InputStore,
    locked: bool,
    steps: &Steps,
) -> miette::Result<()> {
    match store.ensure(lock, package, steps) {
        Ok(_) => Ok(()),
        Err(InputStoreError::Unavailable { offered, .. }) if !locked => {
            take_successor((lock, path), package, store, offered, steps)
        }
        Err(error) => Err(error.into()),
    }
}

fn take_successor(
    (lock, path): (&mut Lock, &Path),
    deb: &Input,
    store: &InputStore,
    offered: String,
    steps: &Steps,
) -> miette::Result<()> {
    let (name, version) = (deb.name.get_ref().clone(), deb.version.clone());
    if !is_newer(&offered, &version)? {
        return Err(NotNewer { name, version, offered }.into());
    }
    let step = steps.start("fetch", &name);
    let fetched = store.fetch_new(deb, Some(&offered), steps)?;
    let (new, diff) = record_successor(path, lock, deb, &fetched)?;
    *lock = new;
    step.done(&format!("{name} {offered}, {:.1} MB", fetched.size as f64 / 1e6));
    steps.warn(&format!(
        "input `{name}` {version} is not offered any more; {} has its successor now:\n{}",
        lock.file,
        diff.trim_end()
    ));
    Ok(())
}
