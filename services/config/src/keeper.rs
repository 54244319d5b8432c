//! The order of steps that changes the active configuration.
//!
//! 1. The change is validated and authorized.
//! 2. Every unit that reads a changed section is asked; a refusal ends the change.
//! 3. It is stored as a pending copy. From here on a restart undoes it.
//! 4. It becomes active, and the units apply it. If one fails, all apply the old one again.
//! 5. An operator confirms it, which makes it permanent; or it times out and is undone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use octet_appliance::SettingsSection;
use octet_appliance::operator::Operator;
use octet_node::control::{By, Failure, FailureCode, PublicKey};
use octet_node::say;

use crate::copy::StoredCopy;
use crate::difference::{changed, changed_of_owners};
use crate::permit::{is_owner, permit, permit_undo};
use crate::settings::Settings;
use crate::start::ChosenConfig;
use crate::store::{ConfigStore, Folder};

pub trait Readers: Send + Sync {
    /// Asks the units that read one of `sections` whether they accept the next configuration.
    /// Returns the units that do not run, and were not asked.
    ///
    /// # Errors
    /// A unit refuses, or does not answer.
    fn check(&self, sections: &[SettingsSection]) -> Result<Vec<String>, Failure>;

    /// Makes the units that read one of `sections` apply the active configuration.
    ///
    /// # Errors
    /// A unit cannot apply it, or does not answer.
    fn apply(&self, sections: &[SettingsSection]) -> Result<(), Failure>;
}

/// A configuration with its number.
#[derive(Debug)]
pub struct ConfigVersion {
    /// The number; 0 is the image's configuration.
    pub sequence: u64,
    pub settings: Settings,
}

/// A pending configuration.
#[derive(Debug, Clone)]
pub struct PendingConfig {
    pub sequence: u64,
    pub deadline: Instant,
    /// The caller that applied it.
    by: By,
    /// The previous configuration.
    previous: Arc<ConfigVersion>,
}

#[derive(Debug, Clone)]
pub struct ConfigView {
    pub in_force: Arc<ConfigVersion>,
    /// The configuration that units are being asked about.
    pub candidate: Option<Arc<ConfigVersion>>,
    /// Set if the active configuration is pending.
    pub pending: Option<PendingConfig>,
    /// The next number.
    pub next_sequence: u64,
    /// Problems at the start or during an undo.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub struct ConfigCommand {
    pub settings: Settings,
    pub by: Option<By>,
    /// The signer, and the signed command.
    pub signed: Option<(PublicKey, String)>,
    /// The number that was signed.
    pub sequence: Option<u64>,
    /// The copy whose text it repeats.
    pub repeats: Option<u64>,
    /// The time of the request, in seconds since 1970.
    pub time: u64,
    /// The time until an unconfirmed change is undone.
    pub confirm: Duration,
}

/// The result of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The configuration equals the active one.
    Unchanged,
    /// It is active, and pending confirmation.
    Pending {
        sequence: u64,
        /// Units that will read it when they start.
        not_running: Vec<String>,
    },
}

/// The configurations of this box.
pub struct Keeper<F, R> {
    /// Held for a whole change, including the calls of all units.
    changing: Mutex<()>,
    /// Held for a single access, also by readers.
    store: Mutex<ConfigStore<F>>,
    view: RwLock<ConfigView>,
    readers: R,
}

impl<F: Folder, R: Readers> Keeper<F, R> {
    /// Starts with `chosen` from `store`; `warnings` are the store's problems.
    pub fn new(
        store: ConfigStore<F>,
        mut warnings: Vec<String>,
        chosen: ChosenConfig,
        readers: R,
    ) -> Self {
        let ChosenConfig { sequence, settings, skipped } = chosen;
        warnings.extend(skipped);
        let in_force = Arc::new(ConfigVersion { sequence, settings });
        let view = ConfigView {
            in_force,
            candidate: None,
            pending: None,
            next_sequence: store.next_sequence(),
            warnings,
        };
        Self {
            changing: Mutex::new(()),
            store: Mutex::new(store),
            view: RwLock::new(view),
            readers,
        }
    }

    pub fn view(&self) -> ConfigView {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut ConfigView)) {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn store(&self) -> MutexGuard<'_, ConfigStore<F>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for a change.
    fn lock_changes(&self) -> Result<MutexGuard<'_, ()>, Failure> {
        match self.changing.try_lock() {
            Ok(turn) => Ok(turn),
            Err(TryLockError::Poisoned(turn)) => Ok(turn.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(busy("another change is being made", "ask again in a moment"))
            }
        }
    }

    /// The number of the last confirmed configuration before the active one; 0 is the image's.
    pub fn previous(&self) -> Result<u64, Failure> {
        let in_force = self.view().in_force.sequence;
        let before = self.store().confirmed().into_iter().find(|sequence| *sequence < in_force);
        match (before, in_force) {
            (None, 0) => {
                let message = "what the image was built with is in force: nothing was before it";
                let help = "`config history` lists the configurations that there are";
                Err(Failure::new(FailureCode::NotFound, message, help))
            }
            (before, _) => Ok(before.unwrap_or(0)),
        }
    }

    /// Makes every unit apply the active configuration: running units may have applied one that is
    /// undone now.
    pub fn start(&self) {
        if let Err(failure) = self.readers.apply(&SettingsSection::ALL) {
            self.change(|view| view.warnings.push(failure.message));
        }
    }

    /// Tries `wish`, if its author is authorized.
    ///
    /// # Errors
    /// It is refused, or cannot be stored or applied; the active configuration stays active then.
    pub fn apply(&self, command: ConfigCommand, now: Instant) -> Result<CommandOutcome, Failure> {
        let _turn = self.lock_changes()?;
        let ConfigView { in_force, pending: others, .. } = self.view();
        let before = others.as_ref().map_or(in_force, |trial| trial.previous.clone());
        let (operators, next) =
            (&before.settings.appliance.operator, &command.settings.appliance.operator);
        let signer = command.signed.as_ref().map(|(key, _)| *key);
        let owns =
            signer.map(By::Operator).or(command.by).is_some_and(|by| is_owner(by, operators));
        // An owner does not wait for others' pending changes.
        if let Some(trial) = &others
            && (!owns || is_owner(trial.by, operators))
        {
            return Err(busy(
                &format!("configuration {} waits to be confirmed", trial.sequence),
                "`config confirm` keeps it, `config rollback` takes it back",
            ));
        }
        let sequence = self.store().next_sequence();
        if let Some(wanted) = command.sequence.filter(|wanted| *wanted != sequence)
            && !(owns && self.is_unrelated_since(wanted, operators))
        {
            return Err(wrong_sequence(wanted, sequence));
        }
        let sections = changed(&before.settings.sections, &command.settings.sections);
        let owned = changed_of_owners(&before.settings.sections, &command.settings.sections);
        let by = permit(command.by, signer, operators, next, &owned)?;
        if let Some(trial) = &others {
            self.undo(trial, "an owner changes the settings");
        }
        if command.settings.text == before.settings.text {
            return Ok(CommandOutcome::Unchanged);
        }
        let copy = StoredCopy {
            sequence,
            taken: command.time,
            by,
            signed: command.signed.map(|(_, command)| command),
            again: command.repeats,
            text: command.settings.text.clone(),
            settings: serde_json::Value::Object(command.settings.sections.clone()),
        };
        let version = Arc::new(ConfigVersion { sequence, settings: command.settings });
        self.change(|view| view.candidate = Some(version.clone()));
        let accepted = self.readers.check(&sections);
        self.change(|view| view.candidate = None);
        let not_running = accepted?;
        self.store().insert(&copy).map_err(|error| store_failure(&error))?;
        say!("configuration {sequence} of {by} is in force until it is confirmed");
        let trial = PendingConfig {
            sequence,
            deadline: now + command.confirm,
            by,
            previous: before.clone(),
        };
        self.change(|view| {
            view.in_force = version;
            view.pending = Some(trial.clone());
            view.next_sequence = sequence.saturating_add(1);
        });
        match self.readers.apply(&sections) {
            Ok(()) => Ok(CommandOutcome::Pending { sequence, not_running }),
            Err(failure) => {
                self.undo(&trial, &failure.message);
                Err(failure)
            }
        }
    }

    /// Whether an owner's number `wanted` is outdated only because others have tried changes since,
    /// none of which was confirmed: operators who may only configure cannot lock out an owner by
    /// using up numbers.
    fn is_unrelated_since(&self, wanted: u64, operators: &Operator) -> bool {
        let store = self.store();
        let confirmed = store.confirmed();
        let is_others = |sequence| {
            let copy = store.read(sequence);
            copy.is_ok_and(|copy| !is_owner(copy.by, operators)) && !confirmed.contains(&sequence)
        };
        // A missing copy ends the search, because its signer is unknown.
        wanted < store.next_sequence() && (wanted..store.next_sequence()).all(is_others)
    }

    /// Makes the pending configuration permanent. Returns its number.
    ///
    /// # Errors
    /// Nothing is pending, or writing fails; the configuration stays pending then.
    pub fn confirm(&self, by: Option<By>) -> Result<u64, Failure> {
        let _turn = self.lock_changes()?;
        let Some(trial) = self.view().pending else {
            let help = "`config history` shows what was applied, confirmed and undone";
            let message = "no configuration waits to be confirmed";
            return Err(Failure::new(FailureCode::NotFound, message, help));
        };
        self.store().confirm(trial.sequence).map_err(|error| store_failure(&error))?;
        self.change(|view| view.pending = None);
        let who = by.map_or_else(|| "a unit".to_owned(), |by| by.to_string());
        say!("configuration {} was confirmed by {who}", trial.sequence);
        Ok(trial.sequence)
    }

    /// Undoes the pending configuration, if the caller is authorized to change the sections that
    /// would change. Returns its number; `None` if nothing is pending.
    ///
    /// # Errors
    /// The caller is not authorized, or another change is in progress.
    pub fn rollback(
        &self,
        by: Option<By>,
        signer: Option<PublicKey>,
    ) -> Result<Option<u64>, Failure> {
        let _turn = self.lock_changes()?;
        let ConfigView { in_force, pending: Some(trial), .. } = self.view() else {
            return Ok(None);
        };
        let before = &trial.previous.settings;
        let owned = changed_of_owners(&in_force.settings.sections, &before.sections);
        permit_undo(by, signer, &before.appliance.operator, &owned)?;
        self.undo(&trial, "an operator takes it back");
        Ok(Some(trial.sequence))
    }

    /// Undoes the pending change if its time is over at `now`. Returns when to call again. It does
    /// not lock unless there is something to undo.
    pub fn tick(&self, now: Instant) -> Option<Instant> {
        let until = self.view().pending?.deadline;
        if now < until {
            return Some(until);
        }
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been confirmed in the meantime, and another one may be pending.
        let trial = self.view().pending?;
        if now < trial.deadline {
            return Some(trial.deadline);
        }
        self.undo(&trial, "nobody has confirmed it");
        None
    }

    /// Reactivates the configuration before `trial`.
    fn undo(&self, trial: &PendingConfig, why: &str) {
        let sequence = trial.sequence;
        say!("configuration {sequence} is undone: {why}");
        let tried = self.view().in_force;
        self.change(|view| {
            view.in_force = trial.previous.clone();
            view.pending = None;
        });
        let mut trouble = vec![];
        if let Err(error) = self.store().undo(sequence) {
            trouble.push(format!("configuration {sequence} is undone at the next start: {error}"));
        }
        let sections = changed(&tried.settings.sections, &trial.previous.settings.sections);
        if let Err(failure) = self.readers.apply(&sections) {
            let before = trial.previous.sequence;
            trouble.push(format!("not everyone is back at configuration {before}: {failure}"));
        }
        for note in &trouble {
            say!("{note}");
        }
        self.change(|view| view.warnings.extend(trouble));
    }
}

fn wrong_sequence(wanted: u64, next: u64) -> Failure {
    let message = format!(
        "this is for configuration {wanted}, and the next one is {next}: it was used before, or \
         somebody else has changed the settings"
    );
    let help = "look at `config history`, and apply it again";
    Failure::new(FailureCode::Denied, message, help)
}

fn store_failure(error: &std::io::Error) -> Failure {
    let message = format!("the data partition does not take it: {error}");
    let help = "`boot` shows how the data partition is; what was in force is in force";
    Failure::new(FailureCode::Failed, message, help)
}

fn busy(message: &str, help: &str) -> Failure {
    Failure::new(FailureCode::Busy, message, help)
}
