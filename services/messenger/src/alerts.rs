//! Alerts about this node's failures, sent as messages to subscribers.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use octet_node::control::{INIT, PublicKey};
use octet_node::durable;
use octet_node::follow;
use octet_node::say;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bot::BotEvent;

/// The verb of PID 1 that returns the state, now and at each change.
const WATCH: &str = "watch";

/// The maximum number of subscribers.
pub const MAX_SUBSCRIBERS: usize = 32;

/// The maximum size of all failures as text: it fits into a message.
const MAX_LENGTH: usize = 16 << 10;

/// The maximum size of the file.
const FILE: u64 = 64 << 10;

/// The alerts, shared by the watcher, the bot and the verbs.
#[derive(Debug, Clone)]
pub struct Alerts(Arc<Mutex<AlertState>>);

/// The current failures, and the subscribers.
#[derive(Debug)]
pub struct AlertState {
    file: PathBuf,
    persisted: Kept,
    failures: BTreeSet<String>,
    /// The contacts of this node.
    pub known: BTreeSet<PublicKey>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    who: BTreeSet<PublicKey>,
    /// The failures in the last alert.
    told: BTreeSet<String>,
}

/// Why a subscription is refused.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// The person is no contact of this node.
    #[error("{0} has not written to this board, so it does not know their mailbox")]
    Unknown(PublicKey),
    #[error("{MAX_SUBSCRIBERS} people get alerts already, which is the maximum")]
    Full,
    #[error("the recipients of alerts cannot be stored: {0}")]
    Disk(#[from] io::Error),
}

impl AlertsError {
    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "write to it first: `octet-msg command BOX help`",
            Self::Full => "take one away: `octetctl messenger unsubscribe NAME`",
            Self::Disk(_) => "see what `octetctl logs` says of the disk",
        }
    }
}

impl Alerts {
    /// Loads the subscribers from `file`.
    ///
    /// # Errors
    /// Reading fails.
    pub fn open(file: PathBuf) -> io::Result<Self> {
        let persisted = match durable::read(&file, FILE)? {
            Some(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                say!("alerts are not sent any more, {} is damaged: {error}", file.display());
                Kept::default()
            }),
            None => Kept::default(),
        };
        let (failures, known) = (persisted.told.clone(), BTreeSet::new());
        Ok(Self(Arc::new(Mutex::new(AlertState { file, persisted, failures, known }))))
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, AlertState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the failures from PID 1, whose socket is in the folder `sockets`, and wakes the bot
    /// at each change.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch(&self, sockets: &Path, wake: SyncSender<BotEvent>) -> io::Result<()> {
        let (alerts, socket) = (self.clone(), sockets.join(format!("{INIT}.sock")));
        follow::keep(socket, WATCH, "PID 1 does not tell what is wrong", move |status: Value| {
            let wrong = failures_in(&status);
            let mut state = alerts.lock();
            if state.failures != wrong {
                state.failures = wrong;
                // A full channel means that the bot is about to run anyway.
                let _ = wake.try_send(BotEvent::Wake);
            }
            true
        })
    }
}

impl AlertState {
    /// Subscribes `who`. Returns the current failures.
    ///
    /// # Errors
    /// It is refused; nothing has changed.
    pub fn subscribe(&mut self, who: PublicKey) -> Result<&BTreeSet<String>, AlertsError> {
        if !self.known.contains(&who) {
            return Err(AlertsError::Unknown(who));
        }
        if self.persisted.who.len() >= MAX_SUBSCRIBERS && !self.persisted.who.contains(&who) {
            return Err(AlertsError::Full);
        }
        let mut saved = self.persisted.clone();
        saved.who.insert(who);
        self.write(saved)?;
        Ok(&self.failures)
    }

    /// Unsubscribes `who`. Returns whether there was a subscription.
    ///
    /// # Errors
    /// Writing fails.
    pub fn unsubscribe(&mut self, who: &PublicKey) -> Result<bool, AlertsError> {
        let mut saved = self.persisted.clone();
        let was_told = saved.who.remove(who);
        self.write(saved)?;
        Ok(was_told)
    }

    pub fn subscribers(&self) -> impl Iterator<Item = &PublicKey> {
        self.persisted.who.iter()
    }

    pub fn failures(&self) -> &BTreeSet<String> {
        &self.failures
    }

    /// The alert about changes since the last one.
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        for (mark, lines) in [
            ("wrong", self.failures.difference(&self.persisted.told)),
            ("over", self.persisted.told.difference(&self.failures)),
        ] {
            for line in lines {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{mark}: {line}");
            }
        }
        text.truncate(text.trim_end().len());
        (!text.is_empty()).then_some(text)
    }

    /// Records the failures of a sent alert.
    ///
    /// # Errors
    /// Writing fails: the alert is repeated after the next start.
    pub fn mark_sent(&mut self, failures: BTreeSet<String>) -> io::Result<()> {
        self.persisted.told = failures;
        self.write(self.persisted.clone())
    }

    fn write(&mut self, saved: Kept) -> io::Result<()> {
        let bytes = serde_json::to_vec(&saved)?;
        durable::replace(&self.file, &bytes)?;
        self.persisted = saved;
        Ok(())
    }
}

/// The failures in `status`: permanently failed units, otherwise why the node is degraded.
fn failures_in(status: &Value) -> BTreeSet<String> {
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
    let mut room = MAX_LENGTH;
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
        alerts.lock().failures = failures_in(&status);
        assert_eq!(alerts.lock().text().unwrap(), "wrong: lan has failed: r");
        let wrong = alerts.lock().failures().clone();
        alerts.lock().mark_sent(wrong).unwrap();
        assert_eq!(alerts.lock().text(), None);

        let again = state(&file);
        let mut again = again.lock();
        assert_eq!((again.subscribers().count(), again.text()), (1, None));
        again.failures =
            failures_in(&json!({ "state": "degraded", "reason": "no disk", "units": [] }));
        let letter = again.text().unwrap();
        assert_eq!(letter, "wrong: the board is degraded: no disk\nover: lan has failed: r");
        assert!(again.unsubscribe(&who).unwrap() && !again.unsubscribe(&who).unwrap());
    }

    #[test]
    fn no_more_than_so_many_and_no_more_than_a_letter() {
        let folder = tempfile::tempdir().unwrap();
        let alerts = state(&folder.path().join("alerts"));
        let mut state = alerts.lock();
        for number in 0..=MAX_SUBSCRIBERS {
            let who = PublicKey::new([number as u8; 32]);
            state.known.insert(who);
            assert_eq!(state.subscribe(who).is_ok(), number < MAX_SUBSCRIBERS);
        }
        let unit = |number| json!({ "name": format!("u{number}"), "state": "failed", "reason": "x".repeat(500) });
        let units: Vec<_> = (0..200).map(unit).collect();
        state.failures = failures_in(&json!({ "units": units }));
        assert!(state.text().unwrap().len() < octet_messages::limits::MAX_TEXT);
        assert!(state.failures.len() > 20);
    }
}
