//! What is wrong with this node, and who is told of it by letter.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use octet_node::control::{Client, INIT, PublicKey};
use octet_node::durable::{self, ExistingFile};
use octet_node::say;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bot::BotEvent;

/// The verb of PID 1 that tells the state, and again whenever it changes.
const WATCH: &str = "watch";

/// How many are told at most.
pub const MAX: usize = 32;

/// How long what is wrong may be, in all: a letter has room for it.
const LONGEST: usize = 16 << 10;

/// How long the file may be.
const FILE: u64 = 64 << 10;

/// The pause before PID 1 is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Shared by who watches, who writes, and who is asked.
#[derive(Debug, Clone)]
pub struct Alerts(Arc<Mutex<AlertState>>);

/// What there is to be told, and to whom.
#[derive(Debug)]
pub struct AlertState {
    file: PathBuf,
    kept: Kept,
    wrong: BTreeSet<String>,
    /// Those to whom a letter can be written.
    pub known: BTreeSet<PublicKey>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    who: BTreeSet<PublicKey>,
    /// What they were told last.
    told: BTreeSet<String>,
}

/// Why somebody is not told.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// There is no way to them.
    #[error("{0} has not written to this board, so it knows no way to them")]
    Unknown(PublicKey),
    #[error("{MAX} people are told already")]
    Full,
    #[error("who is told cannot be kept: {0}")]
    Disk(#[from] io::Error),
}

impl AlertsError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "write to it first: `octet-msg command BOX help`",
            Self::Full => "take one away: `octetctl messenger unsubscribe NAME`",
            Self::Disk(_) => "see what `octetctl logs` says of the disk",
        }
    }
}

impl Alerts {
    /// Those that are kept in `file`.
    ///
    /// # Errors
    /// The disk does not give it.
    pub fn open(file: PathBuf) -> io::Result<Self> {
        let kept = match durable::read(&file, FILE)? {
            Some(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                say!("nobody is told of alerts any more, {} is damaged: {error}", file.display());
                Kept::default()
            }),
            None => Kept::default(),
        };
        let (wrong, known) = (kept.told.clone(), BTreeSet::new());
        Ok(Self(Arc::new(Mutex::new(AlertState { file, kept, wrong, known }))))
    }

    /// To read and change it.
    pub fn lock(&self) -> MutexGuard<'_, AlertState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has PID 1, whose socket is in the folder `sockets`, tell what is wrong from now on, and rings when it is
    /// something else.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn watch(&self, sockets: &Path, bell: SyncSender<BotEvent>) -> io::Result<()> {
        let (alerts, socket) = (self.clone(), sockets.join(format!("{INIT}.sock")));
        let run = move || {
            let mut problem = String::new();
            loop {
                let watched = Client::connect(&socket).and_then(|mut client| {
                    client.call_each(WATCH, Map::new(), |status| {
                        let wrong = of(status);
                        let mut state = alerts.lock();
                        if state.wrong != wrong {
                            state.wrong = wrong;
                            // No room means that it is about to look anyway.
                            let _ = bell.try_send(BotEvent::Letter);
                        }
                        true
                    })
                });
                if let Err(error) = watched.map_err(|error| error.to_string())
                    && error != problem
                {
                    say!("PID 1 does not tell what is wrong: {error}");
                    problem = error;
                }
                sleep(RETRY_DELAY);
            }
        };
        std::thread::Builder::new().name("alerts".into()).spawn(run).map(drop)
    }
}

impl AlertState {
    /// Has `who` told from now on. They know what is wrong now from what is returned.
    ///
    /// # Errors
    /// They are not, and nothing is changed.
    pub fn subscribe(&mut self, who: PublicKey) -> Result<&BTreeSet<String>, AlertsError> {
        if !self.known.contains(&who) {
            return Err(AlertsError::Unknown(who));
        }
        if self.kept.who.len() >= MAX && !self.kept.who.contains(&who) {
            return Err(AlertsError::Full);
        }
        let mut kept = self.kept.clone();
        kept.who.insert(who);
        self.keep(kept)?;
        Ok(&self.wrong)
    }

    /// Has `who` told nothing any more; whether they were told.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn unsubscribe(&mut self, who: &PublicKey) -> Result<bool, AlertsError> {
        let mut kept = self.kept.clone();
        let was_told = kept.who.remove(who);
        self.keep(kept)?;
        Ok(was_told)
    }

    pub fn who(&self) -> impl Iterator<Item = &PublicKey> {
        self.kept.who.iter()
    }

    pub fn wrong(&self) -> &BTreeSet<String> {
        &self.wrong
    }

    /// The letter about what has changed since the last one.
    pub fn letter(&self) -> Option<String> {
        let mut text = String::new();
        for (mark, lines) in [
            ("wrong", self.wrong.difference(&self.kept.told)),
            ("over", self.kept.told.difference(&self.wrong)),
        ] {
            for line in lines {
                // Text takes all that is written.
                let _ = writeln!(text, "{mark}: {line}");
            }
        }
        text.truncate(text.trim_end().len());
        (!text.is_empty()).then_some(text)
    }

    /// Notes that they were told this.
    ///
    /// # Errors
    /// The disk does not take it: they are told again after the next start.
    pub fn told(&mut self, wrong: BTreeSet<String>) -> io::Result<()> {
        self.kept.told = wrong;
        self.keep(self.kept.clone())
    }

    fn keep(&mut self, kept: Kept) -> io::Result<()> {
        let bytes = serde_json::to_vec(&kept)?;
        durable::write(&self.file, &bytes, ExistingFile::Replace, |_| Ok(()))?;
        self.kept = kept;
        Ok(())
    }
}

/// What is wrong by `status`: units that have failed for good, and else why the node is degraded.
fn of(status: &Value) -> BTreeSet<String> {
    let reason = |of: &Value| of["reason"].as_str().unwrap_or("no reason is known").to_owned();
    let units = status["units"].as_array().into_iter().flatten();
    let failed = units.filter(|unit| unit["state"] == "failed").map(|unit| {
        let name = unit["name"].as_str().unwrap_or("?");
        format!("{name} has failed: {}", reason(unit))
    });
    let mut wrong: BTreeSet<String> = failed.collect();
    if wrong.is_empty() && status["state"] == "degraded" {
        wrong.insert(format!("the board is degraded: {}", reason(status)));
    }
    let mut room = LONGEST;
    wrong.retain(|line| {
        room = room.saturating_sub(line.len());
        room > 0
    });
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;
    use serde_json::json;

    fn state(file: &Path) -> Alerts {
        Alerts::open(file.to_owned()).unwrap()
    }

    #[test]
    fn what_has_changed_is_told_once_and_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alerts");
        let who = PrivateKey::generate().unwrap().public();
        let alerts = state(&file);
        assert!(matches!(alerts.lock().subscribe(who), Err(AlertsError::Unknown(_))));
        alerts.lock().known.insert(who);
        assert!(alerts.lock().subscribe(who).unwrap().is_empty());
        let unit = |name: &str, state: &str| json!({ "name": name, "state": state, "reason": "r" });
        let status =
            json!({ "state": "ready", "units": [unit("lan", "failed"), unit("x", "ready")] });
        alerts.lock().wrong = of(&status);
        assert_eq!(alerts.lock().letter().unwrap(), "wrong: lan has failed: r");
        let wrong = alerts.lock().wrong().clone();
        alerts.lock().told(wrong).unwrap();
        assert_eq!(alerts.lock().letter(), None);

        let again = state(&file);
        let mut again = again.lock();
        assert_eq!((again.who().count(), again.letter()), (1, None));
        again.wrong = of(&json!({ "state": "degraded", "reason": "no disk", "units": [] }));
        let letter = again.letter().unwrap();
        assert_eq!(letter, "wrong: the board is degraded: no disk\nover: lan has failed: r");
        assert!(again.unsubscribe(&who).unwrap() && !again.unsubscribe(&who).unwrap());
    }

    #[test]
    fn no_more_than_so_many_and_no_more_than_a_letter() {
        let folder = tempfile::tempdir().unwrap();
        let alerts = state(&folder.path().join("alerts"));
        let mut state = alerts.lock();
        for number in 0..=MAX {
            let who = PublicKey::new([number as u8; 32]);
            state.known.insert(who);
            assert_eq!(state.subscribe(who).is_ok(), number < MAX);
        }
        let unit = |number| json!({ "name": format!("u{number}"), "state": "failed", "reason": "x".repeat(500) });
        let units: Vec<_> = (0..200).map(unit).collect();
        state.wrong = of(&json!({ "units": units }));
        assert!(state.letter().unwrap().len() < octet_messages::limits::TEXT);
        assert!(state.wrong.len() > 20);
    }
}
