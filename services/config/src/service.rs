//! The service: loads the stored configuration, and then answers requests.

use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use octet_appliance::Unit;
use octet_node::control::{CallError, Client, Failure, FailureCode, PublicKey};
use octet_node::say;
use octet_node::{Callers, UnitEnvironment, notify_ready};
use serde::Deserialize;
use serde_json::Map;

use crate::keeper::{Keeper, Readers};
use crate::paths::ConfigPaths;
use crate::readers::{SectionReader, SocketReaders, socket};
use crate::serve::{Config, serve};
use crate::start::choose;
use crate::store::{ConfigStore, Folder, InMemory, OnDisk};

/// Serves and changes the settings in force, until PID 1 stops the process.
pub fn main() -> ExitCode {
    octet_node::run(|mut given: UnitEnvironment| {
        let control = given.socket("control").map_err(|error| error.to_string())?;
        run(&ConfigPaths::of_box(given.state), &control).map(|never| match never {})
    })
}

/// Runs the service with the given paths, and serves the connections to `listener`.
///
/// # Errors
/// The service cannot continue; the error is for people.
pub fn run(paths: &ConfigPaths, listener: &UnixListener) -> Result<Infallible, String> {
    let units = std::fs::read(&paths.units).map_err(|error| error.to_string())?;
    let readers = SectionReader::all(&units).map_err(|error| error.to_string())?;
    let units: Vec<Unit> = serde_json::from_slice(&units).map_err(|error| error.to_string())?;
    let (store, notes, is_persistent) = open(paths)?;
    let image = paths.image.clone();
    let shipped = || image.text().unwrap_or_default();
    let chosen = choose(&store, || image.settings(), shipped)?;
    for note in notes.iter().chain(&chosen.skipped) {
        say!("{note}");
    }
    say!("configuration {} is in force", chosen.sequence);
    let at_sockets = SocketReaders::new(readers.clone(), paths.sockets.clone());
    let keeper = Keeper::new(store, notes, chosen, at_sockets);
    let identity = socket(&paths.sockets, "identity");
    let node = Box::new(move || {
        let shown = Client::connect(&identity).and_then(|mut client| {
            let shown = client.call("show", Map::new())?;
            Ok(Shown::deserialize(shown)?.node)
        });
        shown.map_err(|error| unknown_node(&error))
    });
    let change_pending = (Mutex::new(false), Condvar::new());
    let pid_1 = paths.pid_1;
    let config = Arc::new(Config {
        keeper,
        image,
        readers,
        units,
        is_persistent,
        node,
        pid_1,
        change_pending,
    });
    let timer = config.clone();
    std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(move || run_deadlines(&timer))
        .map_err(|error| error.to_string())?;
    // If this fails, PID 1's start timeout reports it.
    let _ = notify_ready();
    let callers = Callers::from_environment().with_pid_1(pid_1);
    serve(listener, &config, &callers).map_err(|error| error.to_string())
}

type Copies = ConfigStore<Box<dyn Folder + Send>>;

/// The copies, the problems found with them, and whether they are stored on disk.
fn open(paths: &ConfigPaths) -> Result<(Copies, Vec<String>, bool), String> {
    let in_memory = |note: Option<String>| {
        let folder: Box<dyn Folder + Send> = Box::new(InMemory::default());
        let (store, mut notes) = ConfigStore::open(folder).map_err(|error| error.to_string())?;
        notes.extend(note);
        Ok((store, notes, false))
    };
    let Some(folder) = paths.state.clone() else { return in_memory(None) };
    let on_disk: Box<dyn Folder + Send> = Box::new(OnDisk(folder));
    match ConfigStore::open(on_disk) {
        Ok((store, notes)) => Ok((store, notes, true)),
        Err(error) => in_memory(Some(format!("the copies cannot be read: {error}"))),
    }
}

/// Undoes unconfirmed changes, forever.
fn run_deadlines<F: Folder, R: Readers>(config: &Config<F, R>) {
    config.keeper.start();
    let (change_pending, wake) = &config.change_pending;
    loop {
        let again = config.keeper.tick(Instant::now());
        let change_pending = change_pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut change_pending = match again {
            None => wake
                .wait_while(change_pending, |change_pending| !*change_pending)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                wake.wait_timeout(change_pending, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        *change_pending = false;
    }
}

/// The answer of identity's `show`, as far as it is needed here.
#[derive(Deserialize)]
struct Shown {
    node: PublicKey,
}

fn unknown_node(error: &CallError) -> Failure {
    let message = format!("it is not known for which box this was signed: {error}");
    Failure::new(FailureCode::Failed, message, "`status` shows how `identity` is")
}
