//! Which machines of `cargo image run` run, and where their control ports are.
//!
//! Each has a file `out/machines/N`, which it keeps locked for as long as it runs: what it is, and the folder of its
//! sockets. That folder is elsewhere because the path of a socket has at most 107 bytes, however deep the clone lies.
//! A file that nobody has locked was left by a process that was killed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::output::file_lock::FileLock;

/// How the name of a folder of sockets begins.
pub const SOCKETS: &str = "octet-";

/// A machine that runs, or several that are one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningMachines {
    /// Its number, from 1; that of one that has ended is given again.
    pub number: u32,
    /// What it is, for people.
    pub what: String,
    /// The folder of its sockets; of several machines the router's.
    pub sockets: PathBuf,
}

/// The place that a machine has among those that run, until the value is dropped.
#[derive(Debug)]
pub struct Registration {
    pub number: u32,
    path: PathBuf,
    _file: FileLock,
}

impl Registration {
    /// Takes the first free place in `out`, and clears those that were left.
    pub fn register(out: &Path, what: &str, sockets: &Path) -> io::Result<Self> {
        let folder = folder(out);
        fs::create_dir_all(&folder)?;
        for (_, path) in entries(&folder)? {
            if let Some(file) = try_lock(&path)? {
                remove_stale(&path, file)?;
            }
        }
        for number in 1.. {
            let path = folder.join(number.to_string());
            let file = match File::options().read(true).write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            // Another one may have taken it for one that was left, before it was locked.
            let Ok(file) = FileLock::try_new(file) else { continue };
            if !is_at(&file, &path) {
                continue;
            }
            write!(&*file, "{what}\n{}", sockets.display())?;
            return Ok(Self { number, path, _file: file });
        }
        Err(io::ErrorKind::QuotaExceeded.into())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The machines that run, by their numbers.
pub fn list(out: &Path) -> io::Result<Vec<RunningMachines>> {
    let mut all = vec![];
    for (number, path) in entries(&folder(out))? {
        if try_lock(&path)?.is_some() {
            continue;
        }
        // One that has just begun has not said it yet, and one that has just ended is gone.
        let text = fs::read_to_string(&path).unwrap_or_default();
        if let Some((what, sockets)) = text.split_once('\n') {
            all.push(RunningMachines { number, what: what.to_owned(), sockets: sockets.into() });
        }
    }
    all.sort_by_key(|running| running.number);
    Ok(all)
}

fn folder(out: &Path) -> PathBuf {
    out.join("machines")
}

/// The files of places, in any order.
fn entries(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut all = vec![];
    for entry in entries {
        let entry = entry?;
        all.extend(
            entry.file_name().to_str().and_then(|it| it.parse().ok()).map(|it| (it, entry.path())),
        );
    }
    Ok(all)
}

/// The file at `path`, locked, if nobody else has locked it and it is there.
fn try_lock(path: &Path) -> io::Result<Option<FileLock>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match FileLock::try_new(file) {
        Ok(file) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |it: fs::Metadata| (it.dev(), it.ino());
    file.metadata().map(id).ok() == fs::metadata(path).map(id).ok()
}

/// Removes what a process that was killed has left.
fn remove_stale(path: &Path, file: FileLock) -> io::Result<()> {
    let mut text = String::new();
    (&*file).read_to_string(&mut text)?;
    let sockets = text.split_once('\n').map(|(_, sockets)| PathBuf::from(sockets));
    // Of several machines all have their folders in one of ours.
    let ours = |folder: &&Path| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOCKETS))
    };
    if let Some(made) = sockets.as_deref().and_then(|it| it.ancestors().take(2).find(ours)) {
        // It may have gone with a restart of the host.
        let _ = fs::remove_dir_all(made);
    }
    if is_at(&file, path) { fs::remove_file(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(folder: &Path, name: &str) -> PathBuf {
        let sockets = folder.join(name);
        fs::create_dir_all(&sockets).unwrap();
        sockets
    }

    #[test]
    fn each_machine_has_a_place_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        assert_eq!(list(&out).unwrap(), []);
        let [a, b, c] = ["octet-a", "octet-b", "octet-c"].map(|name| sockets(folder.path(), name));
        let first = Registration::register(&out, "one", &a).unwrap();
        let second = Registration::register(&out, "two", &b).unwrap();
        assert_eq!([first.number, second.number], [1, 2]);
        let of = |number, what: &str, sockets: &Path| RunningMachines {
            number,
            what: what.to_owned(),
            sockets: sockets.to_owned(),
        };
        assert_eq!(list(&out).unwrap(), [of(1, "one", &a), of(2, "two", &b)]);
        drop(first);
        assert_eq!(list(&out).unwrap(), [of(2, "two", &b)]);
        let third = Registration::register(&out, "three", &c).unwrap();
        assert_eq!(list(&out).unwrap(), [of(1, "three", &c), of(2, "two", &b)]);
        drop((second, third));
        assert_eq!(list(&out).unwrap(), []);
        // Whoever ends by himself leaves his sockets to who has made them.
        assert!(a.is_dir() && b.is_dir() && c.is_dir());
    }

    #[test]
    fn what_a_killed_one_left_is_cleared_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let machines = sockets(&out, "machines");
        let [one, box_] =
            ["octet-one", "octet-box/router"].map(|name| sockets(folder.path(), name));
        let other = sockets(folder.path(), "somebody's");
        let left = [(1, &one), (2, &box_), (3, &other)];
        for (number, sockets) in left {
            let text = format!("left\n{}", sockets.display());
            fs::write(machines.join(number.to_string()), text).unwrap();
        }
        assert_eq!(list(&out).unwrap(), []);
        let here = sockets(folder.path(), "octet-here");
        let place = Registration::register(&out, "here", &here).unwrap();
        assert_eq!(place.number, 1);
        assert_eq!(fs::read_dir(&machines).unwrap().count(), 1);
        assert!(!one.exists() && !folder.path().join("octet-box").exists());
        assert!(other.is_dir() && here.is_dir());
    }
}
