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
use crate::permit::{is_owner, permit, permit_undoing};
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
    pub until: Instant,
    /// The caller that applied it.
    by: By,
    /// The previous configuration.
    before: Arc<ConfigVersion>,
}

#[derive(Debug, Clone)]
pub struct View {
    pub in_force: Arc<ConfigVersion>,
    /// The configuration that units are being asked about.
    pub next: Option<Arc<ConfigVersion>>,
    /// Set if the active configuration is pending.
    pub trial: Option<PendingConfig>,
    /// The next number.
    pub next_number: u64,
    /// Problems at the start or during an undo.
    pub notes: Vec<String>,
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
    pub again: Option<u64>,
    /// The time of the request, in seconds since 1970.
    pub taken: u64,
    /// The time until an unconfirmed change is undone.
    pub confirm: Duration,
}

/// The result of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The configuration equals the active one.
    Same,
    /// It is active, and pending confirmation.
    Tried {
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
    view: RwLock<View>,
    readers: R,
}

impl<F: Folder, R: Readers> Keeper<F, R> {
    /// Starts with `chosen` from `store`; `notes` are the store's problems.
    pub fn new(
        store: ConfigStore<F>,
        mut notes: Vec<String>,
        chosen: ChosenConfig,
        readers: R,
    ) -> Self {
        let ChosenConfig { sequence, settings, skipped } = chosen;
        notes.extend(skipped);
        let in_force = Arc::new(ConfigVersion { sequence, settings });
        let view = View { in_force, next: None, trial: None, next_number: store.next(), notes };
        Self {
            changing: Mutex::new(()),
            store: Mutex::new(store),
            view: RwLock::new(view),
            readers,
        }
    }

    pub fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn store(&self) -> MutexGuard<'_, ConfigStore<F>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for a change.
    fn turn(&self) -> Result<MutexGuard<'_, ()>, Failure> {
        match self.changing.try_lock() {
            Ok(turn) => Ok(turn),
            Err(TryLockError::Poisoned(turn)) => Ok(turn.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(busy("another change is being made", "ask again in a moment"))
            }
        }
    }

    /// The number of the last confirmed configuration before the active one; 0 is the image's.
    pub fn before_last(&self) -> Result<u64, Failure> {
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
    pub fn begin(&self) {
        if let Err(failure) = self.readers.apply(&SettingsSection::ALL) {
            self.change(|view| view.notes.push(failure.message));
        }
    }

    /// Tries `wish`, if its author is authorized.
    ///
    /// # Errors
    /// It is refused, or cannot be stored or applied; the active configuration stays active then.
    pub fn apply(&self, wish: ConfigCommand, now: Instant) -> Result<CommandOutcome, Failure> {
        let _turn = self.turn()?;
        let View { in_force, trial: others, .. } = self.view();
        let before = others.as_ref().map_or(in_force, |trial| trial.before.clone());
        let (operators, next) =
            (&before.settings.appliance.operator, &wish.settings.appliance.operator);
        let signer = wish.signed.as_ref().map(|(key, _)| *key);
        let owns = signer.map(By::Operator).or(wish.by).is_some_and(|by| is_owner(by, operators));
        // An owner does not wait for others' pending changes.
        if let Some(trial) = &others
            && (!owns || is_owner(trial.by, operators))
        {
            return Err(busy(
                &format!("configuration {} waits to be confirmed", trial.sequence),
                "`config confirm` keeps it, `config rollback` takes it back",
            ));
        }
        let sequence = self.store().next();
        if let Some(wanted) = wish.sequence.filter(|wanted| *wanted != sequence)
            && !(owns && self.only_others_since(wanted, operators))
        {
            return Err(wrong_number(wanted, sequence));
        }
        let sections = changed(&before.settings.sections, &wish.settings.sections);
        let owned = changed_of_owners(&before.settings.sections, &wish.settings.sections);
        let by = permit(wish.by, signer, operators, next, &owned)?;
        if let Some(trial) = &others {
            self.put_back(trial, "an owner changes the settings");
        }
        if wish.settings.text == before.settings.text {
            return Ok(CommandOutcome::Same);
        }
        let copy = StoredCopy {
            sequence,
            taken: wish.taken,
            by,
            signed: wish.signed.map(|(_, command)| command),
            again: wish.again,
            text: wish.settings.text.clone(),
            settings: serde_json::Value::Object(wish.settings.sections.clone()),
        };
        let version = Arc::new(ConfigVersion { sequence, settings: wish.settings });
        self.change(|view| view.next = Some(version.clone()));
        let accepted = self.readers.check(&sections);
        self.change(|view| view.next = None);
        let not_running = accepted?;
        self.store().keep(&copy).map_err(|error| not_kept(&error))?;
        say!("configuration {sequence} of {by} is in force until it is confirmed");
        let trial =
            PendingConfig { sequence, until: now + wish.confirm, by, before: before.clone() };
        self.change(|view| {
            view.in_force = version;
            view.trial = Some(trial.clone());
            view.next_number = sequence.saturating_add(1);
        });
        match self.readers.apply(&sections) {
            Ok(()) => Ok(CommandOutcome::Tried { sequence, not_running }),
            Err(failure) => {
                self.put_back(&trial, &failure.message);
                Err(failure)
            }
        }
    }

    /// Whether an owner's number `wanted` is outdated only because others have tried changes since,
    /// none of which was confirmed: operators who may only configure cannot lock out an owner by
    /// using up numbers.
    fn only_others_since(&self, wanted: u64, operators: &Operator) -> bool {
        let store = self.store();
        let confirmed = store.confirmed();
        let is_others = |sequence| {
            let copy = store.read(sequence);
            copy.is_ok_and(|copy| !is_owner(copy.by, operators)) && !confirmed.contains(&sequence)
        };
        // A missing copy ends the search, because its signer is unknown.
        wanted < store.next() && (wanted..store.next()).all(is_others)
    }

    /// Makes the pending configuration permanent. Returns its number.
    ///
    /// # Errors
    /// Nothing is pending, or writing fails; the configuration stays pending then.
    pub fn confirm(&self, by: Option<By>) -> Result<u64, Failure> {
        let _turn = self.turn()?;
        let Some(trial) = self.view().trial else {
            let help = "`config history` shows what was applied, confirmed and undone";
            let message = "no configuration waits to be confirmed";
            return Err(Failure::new(FailureCode::NotFound, message, help));
        };
        self.store().confirm(trial.sequence).map_err(|error| not_kept(&error))?;
        self.change(|view| view.trial = None);
        let who = by.map_or_else(|| "a unit".to_owned(), |by| by.to_string());
        say!("configuration {} was confirmed by {who}", trial.sequence);
        Ok(trial.sequence)
    }

    /// Undoes the pending configuration, if the caller is authorized to change the sections that
    /// would change. Returns its number; `None` if nothing is pending.
    ///
    /// # Errors
    /// The caller is not authorized, or another change is in progress.
    pub fn take_back(
        &self,
        by: Option<By>,
        signer: Option<PublicKey>,
    ) -> Result<Option<u64>, Failure> {
        let _turn = self.turn()?;
        let View { in_force, trial: Some(trial), .. } = self.view() else { return Ok(None) };
        let before = &trial.before.settings;
        let owned = changed_of_owners(&in_force.settings.sections, &before.sections);
        permit_undoing(by, signer, &before.appliance.operator, &owned)?;
        self.put_back(&trial, "an operator takes it back");
        Ok(Some(trial.sequence))
    }

    /// Undoes the pending change if its time is over at `now`. Returns when to call again. It does
    /// not lock unless there is something to undo.
    pub fn tick(&self, now: Instant) -> Option<Instant> {
        let until = self.view().trial?.until;
        if now < until {
            return Some(until);
        }
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been confirmed in the meantime, and another one may be pending.
        let trial = self.view().trial?;
        if now < trial.until {
            return Some(trial.until);
        }
        self.put_back(&trial, "nobody has confirmed it");
        None
    }

    /// Reactivates the configuration before `trial`.
    fn put_back(&self, trial: &PendingConfig, why: &str) {
        let sequence = trial.sequence;
        say!("configuration {sequence} is undone: {why}");
        let tried = self.view().in_force;
        self.change(|view| {
            view.in_force = trial.before.clone();
            view.trial = None;
        });
        let mut trouble = vec![];
        if let Err(error) = self.store().undo(sequence) {
            trouble.push(format!("configuration {sequence} is undone at the next start: {error}"));
        }
        let sections = changed(&tried.settings.sections, &trial.before.settings.sections);
        if let Err(failure) = self.readers.apply(&sections) {
            let before = trial.before.sequence;
            trouble.push(format!("not everyone is back at configuration {before}: {failure}"));
        }
        for note in &trouble {
            say!("{note}");
        }
        self.change(|view| view.notes.extend(trouble));
    }
}

fn wrong_number(wanted: u64, next: u64) -> Failure {
    let message = format!(
        "this is for configuration {wanted}, and the next one is {next}: it was used before, or \
         somebody else has changed the settings"
    );
    let help = "look at `config history`, and apply it again";
    Failure::new(FailureCode::Denied, message, help)
}

fn not_kept(error: &std::io::Error) -> Failure {
    let message = format!("the data partition does not take it: {error}");
    let help = "`boot` shows how the data partition is; what was in force is in force";
    Failure::new(FailureCode::Failed, message, help)
}

fn busy(message: &str, help: &str) -> Failure {
    Failure::new(FailureCode::Busy, message, help)
}
