//! Requests to config, and its answers.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use octet_appliance::{FileError, SettingsSection, Unit};
use octet_node::control::file::FileArg;
use octet_node::control::{Failure, FailureCode, PublicKey};
use octet_node::digest::sha256;
use octet_node::serve::threads::Call;
use serde_json::{Map, Value, json};

use crate::copy::MAX_TEXT;
use crate::difference::differences;
use crate::keeper::{CommandOutcome, ConfigCommand, ConfigVersion, Keeper, Readers};
use crate::paths::BuiltConfig;
use crate::readers::SectionReader;
use crate::settings::Settings;
use crate::signed_call::{self, SIGNED};
use crate::store::Folder;

pub struct Config<F, R> {
    pub keeper: Keeper<F, R>,
    /// The image's configuration.
    pub image: BuiltConfig,
    pub readers: Vec<SectionReader>,
    /// The units of the image, whose ports policies can name.
    pub units: Vec<Unit>,
    /// Whether copies are stored on disk.
    pub is_persistent: bool,
    /// Returns the key of this node, or why it is unknown.
    pub node: Box<dyn Fn() -> Result<PublicKey, Failure> + Send + Sync>,
    /// PID 1's user.
    pub pid_1: u32,
    /// Signals that a change is pending.
    pub change_pending: (Mutex<bool>, Condvar),
}

impl<F: Folder, R: Readers> Config<F, R> {
    /// Tries the configuration in the file of `call`.
    pub(super) fn apply(
        &self,
        call: &mut Call<'_>,
        (file, file_name): (&FileArg, &str),
        confirm: Duration,
    ) -> Result<Value, Failure> {
        let bytes = call.peer.read_file(call.id, MAX_TEXT)?;
        if let Some(wrong) = wrong_digest(file, &bytes) {
            return Err(wrong);
        }
        let (settings, warnings) = self.parse(file_name, bytes)?;
        // A key in the text has no checksum, so one with a typing error may still be valid and
        // belong to someone else. The operator has to compare new keys.
        let known = self.keeper.view().in_force.settings.keys();
        let keys: Vec<_> = settings.keys().difference(&known).cloned().collect();
        let mut answer = self.change(call, settings, None, confirm)?;
        answer["file"] = json!(file_name);
        if !keys.is_empty() {
            answer["new_keys"] = json!(keys);
        }
        if !warnings.is_empty() {
            answer["warnings"] = json!(warnings);
        }
        Ok(answer)
    }

    /// Parses `bytes`, the content of the file of this name. Returns the settings, and the rules
    /// without effect.
    pub(super) fn parse(
        &self,
        file_name: &str,
        bytes: Vec<u8>,
    ) -> Result<(Settings, Vec<String>), Failure> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let message = format!("{file_name} is no text in UTF-8: byte {at} is wrong");
            Failure::new(FailureCode::BadArgument, message, "give a whole appliance.toml")
        })?;
        let settings = Settings::parse(file_name, text, &self.image.text()?);
        let settings = settings.map_err(|error| file_failure(&error))?;
        let useless =
            settings.unused_rules(file_name, &self.units).map_err(|error| file_failure(&error))?;
        Ok((settings, useless))
    }

    /// Tries `settings` for `call`; `again` is the earlier configuration that they repeat, if any.
    fn change(
        &self,
        call: &Call<'_>,
        settings: Settings,
        again: Option<u64>,
        confirm: Duration,
    ) -> Result<Value, Failure> {
        let signed = self.signed(call)?;
        let taken = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (by, sequence) = (call.by, call.args.integer("sequence"));
        let command =
            ConfigCommand { settings, by, signed, sequence, repeats: again, time: taken, confirm };
        let outcome = self.keeper.apply(command, Instant::now())?;
        Ok(match outcome {
            CommandOutcome::Unchanged => {
                json!({ "unchanged": self.keeper.view().in_force.sequence })
            }
            CommandOutcome::Pending { sequence, not_running } => {
                *self.change_pending.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                self.change_pending.1.notify_all();
                let mut answer = json!({
                    "applied": sequence,
                    "next": format!("`config confirm` within {} s, or it undoes itself", confirm.as_secs()),
                });
                if !not_running.is_empty() {
                    answer["not_running"] = json!(not_running);
                }
                answer
            }
        })
    }

    /// The signer and the signed command of `call`, if it is signed.
    fn signed(&self, call: &Call<'_>) -> Result<Option<(PublicKey, String)>, Failure> {
        let Some(text) = call.args.text(SIGNED) else { return Ok(None) };
        let node = (self.node)()?;
        let signer = signed_call::check(text, &node, &call.verb, call.args.all())?;
        if call.args.integer("sequence").is_none() {
            return Err(bad_argument("a signed configuration has a number: `sequence`"));
        }
        Ok(Some((signer, text.to_owned())))
    }

    /// Rolls back to configuration `to`; by default it undoes the pending one, or rolls back to the
    /// previous one.
    pub(super) fn rollback(
        &self,
        call: &Call<'_>,
        to: Option<u64>,
        confirm: Duration,
    ) -> Result<Value, Failure> {
        let to = match to {
            Some(to) => to,
            None => {
                let signer = self.signed(call)?.map(|(key, _)| key);
                match self.keeper.rollback(call.by, signer)? {
                    Some(sequence) => return Ok(json!({ "undone": sequence })),
                    None => self.keeper.previous()?,
                }
            }
        };
        let settings = match to {
            0 => self.image.settings().map_err(|problem| unusable_copy(0, &problem))?,
            to => {
                let copy = self.keeper.store().read(to);
                let shipped = || self.image.text().unwrap_or_default();
                copy.and_then(|copy| Settings::of(copy, shipped))
                    .map_err(|problem| unusable_copy(to, &problem))?
            }
        };
        self.change(call, settings, Some(to), confirm)
    }

    pub(super) fn show(&self, section: Option<SettingsSection>) -> Result<Value, Failure> {
        let view = self.keeper.view();
        let ConfigVersion { sequence, settings } = &*view.in_force;
        if let Some(section) = section {
            return Ok(settings.section(section));
        }
        let mut answer = json!({ "sequence": sequence });
        match sequence {
            0 => answer["from"] = json!("the image"),
            sequence => {
                // Without its copy, the active configuration is still shown.
                let copy = self.keeper.store().read(*sequence);
                if let Ok(copy) = copy {
                    answer["taken"] = json!(date(copy.taken));
                    answer["by"] = json!(copy.by.to_string());
                    answer["signed"] = json!(copy.signed.is_some());
                }
            }
        }
        if let Some(trial) = &view.pending {
            let left = trial.deadline.saturating_duration_since(Instant::now());
            answer["undone_in_seconds"] = json!(left.as_secs());
        }
        if !self.is_persistent {
            answer["kept"] = json!("in memory, until config ends: there is no data partition");
        }
        if !view.warnings.is_empty() {
            answer["notes"] = json!(view.warnings);
        }
        answer["text"] = json!(settings.text);
        Ok(answer)
    }

    pub(super) fn diff(&self, next: &Settings) -> Result<Value, Failure> {
        let in_force = self.keeper.view().in_force;
        Ok(json!(differences(&in_force.settings.sections, &next.sections)))
    }

    pub(super) fn history(&self) -> Result<Value, Failure> {
        let in_force = self.keeper.view().in_force.sequence;
        let store = self.keeper.store();
        let copies = store.copies().map(|name| {
            let mut row = json!({ "sequence": name.sequence, "standing": name.state.name() });
            match store.read(name.sequence) {
                Ok(copy) => {
                    row["taken"] = json!(date(copy.taken));
                    row["by"] = json!(copy.by.to_string());
                    row["signed"] = json!(copy.signed.is_some());
                    row["again"] = json!(copy.again);
                    row["sha256"] = json!(sha256(copy.text.as_bytes()));
                }
                Err(problem) => row["problem"] = json!(problem),
            }
            row["in_force"] = json!(name.sequence == in_force);
            row
        });
        let image = json!({ "sequence": 0, "standing": "the image's", "in_force": in_force == 0 });
        Ok(copies.chain([image]).collect())
    }

    /// The sections that the unit of user `uid` may read. PID 1, which asks for operators, may read
    /// all.
    pub(super) fn sections(&self, uid: u32, next: bool) -> Result<Value, Failure> {
        let is_read = |section: &SettingsSection| {
            let mut units = self.readers.iter().filter(|unit| unit.uid() == uid);
            uid == self.pid_1 || units.any(|unit| unit.reads(*section))
        };
        let sections: Vec<_> = SettingsSection::ALL.into_iter().filter(is_read).collect();
        if sections.is_empty() {
            let message = format!("user {uid} may not read any section");
            let help = "name some in the unit file, as in `config = [\"operator\"]`";
            return Err(Failure::new(FailureCode::Denied, message, help));
        }
        let view = self.keeper.view();
        let version = match next {
            false => view.in_force,
            true => view.candidate.ok_or_else(|| {
                let help = "read this only when `config` asks about it";
                Failure::new(FailureCode::NotFound, "no settings are to come", help)
            })?,
        };
        let value = |it: SettingsSection| (it.name().to_owned(), version.settings.section(it));
        Ok(sections.into_iter().map(value).collect::<Map<_, _>>().into())
    }
}

/// Formats a date for people. Later dates have more than four digits for the year.
fn date(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let at = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    format_rfc3339_seconds(at).to_string()
}

/// The failure if the digest in the call differs from that of its file.
fn wrong_digest(file: &FileArg, bytes: &[u8]) -> Option<Failure> {
    let said = file.sha256.as_ref()?;
    let is = sha256(bytes);
    (*said != is).then(|| {
        let message = format!("the file that came has the SHA-256 {is}, and not {said}");
        Failure::new(FailureCode::Denied, message, "sign the file that you send")
    })
}

fn file_failure(error: &FileError) -> Failure {
    Failure::new(FailureCode::BadArgument, error.marked(), error.hint.clone())
}

fn unusable_copy(sequence: u64, problem: &str) -> Failure {
    let message = format!("configuration {sequence} cannot be used: {problem}");
    Failure::new(FailureCode::Failed, message, "`config history` lists those that there are")
}

pub(super) fn bad_argument(message: &str) -> Failure {
    Failure::new(FailureCode::BadArgument, message, "see `octetctl config --help`")
}
