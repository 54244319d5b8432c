//! The folder in which a person is kept, and who opens it.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use octet_messages::courier::Courier;
use octet_messages::limits::PLACES;
use octet_messages::person::{Fresh, Person};
use octet_messages::place::Place;
use octet_messages::quic::{Client, now};
use octet_messages::rows::Change;
use octet_messages::store::{Store, StoreError};
use octet_node::control::PublicKey;
use octet_node::key::random;

use crate::command::Failed;
use crate::derivation::Cost;
use crate::line::Line;
use crate::{backup, passphrase};

/// Where this person's settings are (XDG Base Directory Specification).
pub fn settings() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".config"));
    let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Some(folder?.join("octet"))
}

/// Where a person is kept who names no folder.
fn folder(line: &Line) -> Result<PathBuf, Failed> {
    let usual = || Some(settings()?.join("messages"));
    line.folder.clone().or_else(usual).ok_or(Failed::Homeless)
}

/// The letters of a person, and the passphrase that they are opened with.
pub type Opened = (Courier<Client>, Vec<u8>);

/// Makes a new person whose mailboxes are `places`.
pub fn make(line: &Line, places: Vec<Place>) -> Result<Opened, Failed> {
    let folder = vacant(line)?;
    let mailboxes: BTreeSet<PublicKey> = places.iter().map(|place| place.mailbox).collect();
    if mailboxes.len() != places.len() || places.len() > PLACES {
        return Err(Failed::Mailboxes);
    }
    let secret = passphrase::ask_new(line.passphrase_file.as_deref())?;
    let fresh = Fresh { name: random()?, key: random()?, seal: random()? };
    let (_, rows) = Person::new(fresh, places, now()).ok_or(Failed::Keys)?;
    Ok((move_in(&folder, &secret, &rows)?, secret))
}

/// Makes the person again of whom `file` is a back-up.
pub fn restore(line: &Line, file: &Path) -> Result<Opened, Failed> {
    let folder = vacant(line)?;
    let secret = passphrase::ask(line.passphrase_file.as_deref())?;
    let backup = backup::read(file, &secret)?;
    let (_, rows) = Person::restore(backup, random()?, now()).ok_or(Failed::Keys)?;
    Ok((move_in(&folder, &secret, &rows)?, secret))
}

/// Opens what is kept.
pub fn open(line: &Line) -> Result<Opened, Failed> {
    let folder = folder(line)?;
    if !folder.join(passphrase::FILE).exists() {
        return Err(StoreError::Absent(folder).into());
    }
    let secret = passphrase::ask(line.passphrase_file.as_deref())?;
    let key = passphrase::read(&folder, &secret)?;
    Ok((courier(&folder, key)?, secret))
}

/// The folder of somebody who is not there yet.
fn vacant(line: &Line) -> Result<PathBuf, Failed> {
    let folder = folder(line)?;
    match std::fs::read_dir(&folder).map(|mut files| files.next().is_some()) {
        Ok(true) => Err(Failed::Existing(folder)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failed::Disk(folder, error)),
        _ => Ok(folder),
    }
}

/// Keeps a person in `folder`, with all of `rows` or not at all: they are made beside their place.
fn move_in(folder: &Path, secret: &[u8], rows: &[Change]) -> Result<Courier<Client>, Failed> {
    let disk = |error| Failed::Disk(folder.to_owned(), error);
    let name = folder.file_name().ok_or_else(|| disk(io::ErrorKind::InvalidFilename.into()))?;
    let mut staged = name.to_owned();
    staged.push(".new");
    let staged = folder.with_file_name(staged);
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(disk)?;
    // What is there may be anything: it is for its owner to take away.
    DirBuilder::new().mode(0o700).create(&staged).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failed::Cut(staged.clone()),
        _ => disk(error),
    })?;
    let kept = fill(&staged, secret, rows).and_then(|key| {
        let sync = |path: &Path| File::open(path)?.sync_all();
        let moved = sync(&staged).and_then(|()| std::fs::rename(&staged, folder));
        moved.and_then(|()| sync(parent)).map_err(disk)?;
        Ok(key)
    });
    if kept.is_err() {
        // It was made here. If it is in its place already, it is not there.
        let _ = std::fs::remove_dir_all(&staged);
    }
    courier(folder, kept?)
}

/// Keeps `rows` in `folder`, and returns by which key they are opened.
fn fill(folder: &Path, secret: &[u8], rows: &[Change]) -> Result<[u8; 32], Failed> {
    let key = passphrase::keep(folder, secret, Cost::usual())?;
    Store::create(folder, key)?.keep(rows)?;
    Ok(key)
}

fn courier(folder: &Path, key: [u8; 32]) -> Result<Courier<Client>, Failed> {
    let client = Client::new().map_err(|error| Failed::Disk(folder.to_owned(), error))?;
    Ok(Courier::new(Store::open(folder, key)?, client)?)
}
