//! The folder in which a person is kept, and who opens it.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use octet_messenger::courier::Courier;
use octet_messenger::limits::PLACES;
use octet_messenger::person::{Fresh, Person};
use octet_messenger::place::Place;
use octet_messenger::quic::{Client, now};
use octet_messenger::store::{Store, StoreError};
use octet_node::control::PublicKey;
use octet_node::key::random;

use crate::command::Failed;
use crate::line::Line;
use crate::passphrase::{self, Cost};

/// Where this person's settings are (XDG Base Directory Specification).
pub fn settings() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".config"));
    let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Some(folder?.join("octet"))
}

/// Where a person is kept who names no folder.
fn folder(line: &Line) -> Result<PathBuf, Failed> {
    let usual = || Some(settings()?.join("letters"));
    line.folder.clone().or_else(usual).ok_or(Failed::Homeless)
}

/// Makes a new person whose mailboxes are `places`.
pub fn make(line: &Line, places: Vec<Place>) -> Result<Courier<Client>, Failed> {
    let folder = folder(line)?;
    if folder.join(passphrase::FILE).exists() {
        return Err(Failed::Existing(folder));
    }
    let mailboxes: BTreeSet<PublicKey> = places.iter().map(|place| place.mailbox).collect();
    if mailboxes.len() != places.len() || places.len() > PLACES {
        return Err(Failed::Mailboxes);
    }
    let secret = passphrase::ask_new(line.passphrase_file.as_deref())?;
    let make = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    make.map_err(|error| Failed::Disk(folder.clone(), error))?;
    let fresh = Fresh { name: random()?, key: random()?, seal: random()? };
    let (_, rows) = Person::new(fresh, places, now()).ok_or(Failed::Keys)?;
    let key = passphrase::keep(&folder, &secret, Cost::usual())?;
    let store = Store::create(&folder, key)?;
    store.keep(&rows)?;
    Ok(Courier::new(store, client(&folder)?)?)
}

/// Opens what is kept.
pub fn open(line: &Line) -> Result<Courier<Client>, Failed> {
    let folder = folder(line)?;
    if !folder.join(passphrase::FILE).exists() {
        return Err(StoreError::Absent(folder).into());
    }
    let secret = passphrase::ask(line.passphrase_file.as_deref())?;
    let key = passphrase::read(&folder, &secret)?;
    Ok(Courier::new(Store::open(&folder, key)?, client(&folder)?)?)
}

fn client(folder: &Path) -> Result<Client, Failed> {
    Client::new().map_err(|error| Failed::Disk(folder.to_owned(), error))
}
