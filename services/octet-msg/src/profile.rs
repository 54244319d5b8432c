//! The folder of a user: creating, restoring and opening it.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_messages::courier::Courier;
use octet_messages::limits::MAX_MAILBOXES;
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::person::{NewIdentity, Person};
use octet_messages::quic::{MailboxClient, now};
use octet_messages::rows::ChangedRow;
use octet_messages::store::{PersonStore, PersonStoreError};
use octet_node::control::PublicKey;
use octet_node::key::random;

use crate::cli::CommandLine;
use crate::command::CommandFailure;
use crate::derivation::Cost;
use crate::{backup, passphrase};

/// The time after which a command gives up if another process has the message store open. A fetch
/// from mailboxes that answer slowly takes minutes, but seldom.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The pause before it is tried again.
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(20);

/// The user's configuration folder (XDG Base Directory Specification).
pub fn config_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".config"));
    let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Some(folder?.join("octet"))
}

/// The folder of the user: the given one, or the default.
fn folder(line: &CommandLine) -> Result<PathBuf, CommandFailure> {
    let usual = || Some(config_folder()?.join("messages"));
    line.folder.clone().or_else(usual).ok_or(CommandFailure::NoHome)
}

/// The user's message store, and the passphrase that opens it.
pub type OpenedProfile = (Courier<MailboxClient>, Vec<u8>);

/// Creates a new identity whose mailboxes are `places`.
pub fn create(
    line: &CommandLine,
    places: Vec<MailboxAddress>,
) -> Result<OpenedProfile, CommandFailure> {
    let folder = new_folder(line)?;
    let mailboxes: BTreeSet<PublicKey> = places.iter().map(|place| place.mailbox).collect();
    if mailboxes.len() != places.len() || places.len() > MAX_MAILBOXES {
        return Err(CommandFailure::Mailboxes);
    }
    let secret = passphrase::ask_new(line.passphrase_file.as_deref())?;
    let fresh = NewIdentity { name: random()?, key: random()?, seal: random()? };
    let (_, rows) = Person::new(fresh, places, now()).ok_or(CommandFailure::Keys)?;
    Ok((install(&folder, &secret, &rows)?, secret))
}

/// Restores the identity from the backup `file`.
pub fn restore(line: &CommandLine, file: &Path) -> Result<OpenedProfile, CommandFailure> {
    let folder = new_folder(line)?;
    let secret = passphrase::ask(line.passphrase_file.as_deref())?;
    let backup = backup::read(file, &secret)?;
    let (_, rows) = Person::restore(backup, random()?, now()).ok_or(CommandFailure::Keys)?;
    Ok((install(&folder, &secret, &rows)?, secret))
}

pub fn open(line: &CommandLine) -> Result<OpenedProfile, CommandFailure> {
    let profile = unlock(line)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    Ok((profile.open_with(profile.client()?, Some(deadline))?, profile.secret))
}

/// Asks for the passphrase of the user's message store, which stays closed.
pub fn unlock(line: &CommandLine) -> Result<UnlockedProfile, CommandFailure> {
    let folder = folder(line)?;
    if !folder.join(passphrase::FILE).exists() {
        return Err(PersonStoreError::Absent(folder).into());
    }
    let secret = passphrase::ask(line.passphrase_file.as_deref())?;
    let key = passphrase::read(&folder, &secret)?;
    Ok(UnlockedProfile { folder, key, secret })
}

/// A user's message store whose passphrase is known.
pub struct UnlockedProfile {
    folder: PathBuf,
    key: [u8; 32],
    secret: Vec<u8>,
}

impl UnlockedProfile {
    pub fn client(&self) -> Result<MailboxClient, CommandFailure> {
        MailboxClient::new().map_err(|error| CommandFailure::Disk(self.folder.clone(), error))
    }

    /// Opens the store; waits if another process has it open, until `deadline` if there is one.
    pub fn open_with(
        &self,
        client: MailboxClient,
        deadline: Option<Instant>,
    ) -> Result<Courier<MailboxClient>, CommandFailure> {
        loop {
            match PersonStore::open(&self.folder, self.key) {
                Err(PersonStoreError::Busy) if deadline.is_none_or(|at| Instant::now() < at) => {
                    sleep(LOCK_RETRY_DELAY);
                }
                store => return Ok(Courier::new(store?, client)?),
            }
        }
    }
}

/// The folder for a new identity, which must be missing or empty.
fn new_folder(line: &CommandLine) -> Result<PathBuf, CommandFailure> {
    let folder = folder(line)?;
    match std::fs::read_dir(&folder).map(|mut files| files.next().is_some()) {
        Ok(true) => Err(CommandFailure::Existing(folder)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CommandFailure::Disk(folder, error))
        }
        _ => Ok(folder),
    }
}

/// Creates `folder` with all of `rows`, or not at all: it is renamed from a staging folder.
fn install(
    folder: &Path,
    secret: &[u8],
    rows: &[ChangedRow],
) -> Result<Courier<MailboxClient>, CommandFailure> {
    let disk = |error| CommandFailure::Disk(folder.to_owned(), error);
    let name = folder.file_name().ok_or_else(|| disk(io::ErrorKind::InvalidFilename.into()))?;
    let mut staged = name.to_owned();
    staged.push(".new");
    let staged = folder.with_file_name(staged);
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(disk)?;
    // An existing staging folder is not removed, because it may contain anything.
    DirBuilder::new().mode(0o700).create(&staged).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CommandFailure::Interrupted(staged.clone()),
        _ => disk(error),
    })?;
    let saved = write_rows(&staged, secret, rows).and_then(|key| {
        let sync = |path: &Path| File::open(path)?.sync_all();
        let moved = sync(&staged).and_then(|()| std::fs::rename(&staged, folder));
        moved.and_then(|()| sync(parent)).map_err(disk)?;
        Ok(key)
    });
    if saved.is_err() {
        // This fails if the staging folder was renamed already.
        let _ = std::fs::remove_dir_all(&staged);
    }
    let profile =
        UnlockedProfile { folder: folder.to_owned(), key: saved?, secret: secret.to_vec() };
    profile.open_with(profile.client()?, Some(Instant::now()))
}

/// Writes `rows` to `folder`, and returns the encryption key.
fn write_rows(
    folder: &Path,
    secret: &[u8],
    rows: &[ChangedRow],
) -> Result<[u8; 32], CommandFailure> {
    let key = passphrase::store(folder, secret, Cost::recommended())?;
    PersonStore::create(folder, key)?.write(rows)?;
    Ok(key)
}
