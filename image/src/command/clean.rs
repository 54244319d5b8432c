//! `cargo image clean`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::IntoDiagnostic;

use crate::build;
use crate::cache;
use crate::flash::BUILT_FOLDER;
use crate::output::file::{self, WriteError};
use crate::report;
use crate::source::{CRATES_FOLDER, PROGRAMS_FOLDER};
use crate::steps::Steps;

/// Removes the build outputs of this clone, and lists them
///
/// These are `out/` with the images and their data, and what was compiled for them below `target/`. Downloads stay in
/// the builder's cache.
#[derive(clap::Args)]
pub struct Args {
    /// Also remove what all clones of the user share: compiled crates, programs and U-Boot in the builder's cache
    #[arg(long)]
    cache: bool,
}

/// What is removed of the clone: a folder, and the lock in it that a build holds.
const CLONE_FOLDERS: [(&str, Option<&str>); 3] =
    [("out", Some("cache/.lock")), ("target/appliance", Some(".lock")), ("target/tested", None)];

/// What is removed of the cache: the builder's, and what `.ci/crates` keeps.
const CACHE_FOLDERS: [&str; 4] = [CRATES_FOLDER, PROGRAMS_FOLDER, BUILT_FOLDER, "ci"];

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let root = build::workspace()?.root().to_owned();
    let mut folders: Vec<_> = CLONE_FOLDERS.map(|(name, lock)| (root.join(name), lock)).into();
    if args.cache {
        folders.extend(
            CACHE_FOLDERS.iter().filter_map(|name| Some((cache::folder(name)?, Some(".lock")))),
        );
    }
    for (folder, lock) in folders {
        if let Some(bytes) = remove(&folder, lock)? {
            report::print(&format!("{:>8.1} MB  {}\n", bytes as f64 / 1e6, folder.display()))?;
        }
    }
    if let Some(kept) = cache::folder("").filter(|folder| folder.is_dir()) {
        let bytes = size(&kept).into_diagnostic()?;
        report::print(&format!("{:>8.1} MB  stay in {}\n", bytes as f64 / 1e6, kept.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes `folder` once no build holds the `lock` in it; how many bytes it had, if it was there.
fn remove(folder: &Path, lock: Option<&str>) -> miette::Result<Option<u64>> {
    if folder.symlink_metadata().is_err() {
        return Ok(None);
    }
    let held = lock.map(|lock| file::lock(&folder.join(lock), &Steps::new())).transpose()?;
    let bytes = size(folder).into_diagnostic()?;
    fs::remove_dir_all(folder).map_err(WriteError::at(folder))?;
    drop(held);
    Ok(Some(bytes))
}

/// The bytes of all files below `path`; those that vanish meanwhile have none.
fn size(path: &Path) -> io::Result<u64> {
    let mut sum = 0;
    let mut folders = vec![PathBuf::from(path)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let Ok(entry) = entry else { continue };
            match entry.metadata() {
                Ok(it) if it.is_dir() => folders.push(entry.path()),
                Ok(it) => sum += it.len(),
                Err(_) => {}
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_folder_goes_once_no_build_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        assert_eq!(remove(&out, Some("cache/.lock")).unwrap(), None);
        fs::create_dir_all(out.join("qemu")).unwrap();
        fs::write(out.join("qemu/disk"), [0; 1000]).unwrap();
        let build = file::lock(&out.join("cache/.lock"), &Steps::new()).unwrap();
        let built = AtomicBool::new(false);
        thread::scope(|scope| {
            let removed = scope.spawn(|| (remove(&out, Some("cache/.lock")).unwrap(), &built));
            fs::write(out.join("qemu/initrd"), [0; 234]).unwrap();
            built.store(true, Ordering::SeqCst);
            drop(build);
            let (bytes, built) = removed.join().unwrap();
            assert!(built.load(Ordering::SeqCst));
            assert_eq!(bytes, Some(1234));
        });
        assert!(!out.exists() && folder.path().exists());
    }
}
