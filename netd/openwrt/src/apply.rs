//! Applies the plan to a router, or leaves the router as it was.
//!
//! 1. Read the router: [`RouterState::read`]. Conflicts are reported, and nothing is touched.
//! 2. Save a copy of the current configuration.
//! 3. Stage the changes in a session of its own; start again if an answer is lost.
//! 4. Apply with roll-back: the router undoes the change by itself if it is not confirmed.
//! 5. Watch, on a new connection each time, until the daemons run the desired configuration ([`lacks`]). The
//!    files are read back too: rpcd reports success even if its flash has not stored all of them.
//! 6. Confirm. If that is impossible, or step 5 takes too long: undo, and check that it is undone.
//!
//! Whatever is lost on the way, the outcome is read in a new session. If the router's power was cut
//! between two of its files, the rest is applied in the same way.

use std::io;
use std::time::Duration;

use octet_router::openwrt::change::UciChange;
use octet_router::openwrt::router::{RouterError, is_ours};
use octet_router::openwrt::uci::{UciSection, Value};
use serde_json::{Map, json};

use crate::desired::DesiredConfig;
use crate::missing::missing;
use crate::state::{LiveState, RouterState, get, probe, sections_of, sorted, waits};
use crate::ubus::{CallResult, ROLLBACK, Ubus, UbusCall, UbusError};

/// Delays before each look at the network after a change, in seconds: a minute in all, since a slow
/// router needs half of it for its firewall.
const LOOKS: [u64; 7] = [0, 2, 4, 8, 16, 16, 16];

/// Delay between checks whether a change still waits to be confirmed, and the number of checks.
const SETTLES: Duration = Duration::from_secs(10);
const SETTLE_LOOKS: usize = 15;

/// How often a step is tried whose answer was lost.
const TRIES: usize = 3;

const RETRY_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// The router already had the desired configuration; nothing was touched.
    Nothing,
    /// The desired configuration is applied and confirmed.
    Applied,
    /// The change was rolled back, for this reason.
    Undone(String),
}

/// Why the outcome is an error.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The router does not answer, or not as expected.
    #[error(transparent)]
    Ubus(#[from] UbusError),
    /// The plan cannot be applied to the router.
    #[error("the plan cannot be applied to this router: {0}")]
    Router(#[from] RouterError),
    /// The owner's sections that conflict.
    #[error("conflicts: {}", .0.join("; "))]
    Conflicts(Vec<String>),
    /// The copy of the current configuration cannot be saved.
    #[error("what the router has now cannot be kept: {0}")]
    Copy(io::Error),
    /// The outcome is unknown.
    #[error("{0}, and what has become of the change is not known: {1}")]
    Unknown(String, UbusError),
    /// The power was cut between two files, and the rest could not be applied.
    #[error("of the router's files {0}, since its power was cut, and that is not finished: {1}")]
    Half(String, String),
    /// The whole change is in the files and is not rolled back, but the daemons have not applied
    /// it.
    #[error("{0}; the router has what is wanted, and does not undo it, but {1}")]
    Kept(String, String),
    /// The configuration is neither the old nor the new one.
    #[error(
        "{0}; the router has neither what it had nor what is wanted, and nothing waits to be confirmed"
    )]
    Neither(String),
}

impl ApplyError {
    pub fn help(&self) -> String {
        match self {
            Self::Ubus(error) => error.help(),
            Self::Router(error) => error.help().to_owned(),
            Self::Conflicts(_) => "change that first: nothing was touched".to_owned(),
            Self::Copy(_) => "see that your folder of settings can be written".to_owned(),
            Self::Unknown(_, error @ UbusError::Unparsed(_)) => {
                format!("{}; a copy of what was there is kept, for `uci import`", error.help())
            }
            Self::Unknown(..) => format!(
                "the router undoes it after {ROLLBACK} s, unless it was confirmed: ask `octetctl openwrt diff` then"
            ),
            Self::Half(..) => {
                "`octetctl openwrt apply` goes on from there, and `release` takes all of it away".to_owned()
            }
            Self::Kept(..) => {
                "see what it lacks with `octetctl openwrt verify`; `release` takes all of it away".to_owned()
            }
            Self::Neither(_) => {
                "somebody else has changed the router, or its flash is full (`df /overlay`): ask `octetctl openwrt diff`; a copy of what was there is kept"
                    .to_owned()
            }
        }
    }
}

/// Applies the configuration `wanted` to the router of `ubus`; `keep` receives its previous
/// configuration before anything is touched.
///
/// # Errors
/// Nothing was touched, or the error says what is unknown.
pub fn apply(
    ubus: &mut Ubus,
    wanted: &DesiredConfig<'_>,
    keep: impl FnOnce(&RouterState) -> io::Result<()>,
) -> Result<ApplyOutcome, ApplyError> {
    let before = RouterState::read(ubus)?;
    let (sections, change) = wanted.change(&before)?;
    if !change.conflicts.is_empty() {
        return Err(ApplyError::Conflicts(change.conflicts));
    }
    if change.lines.is_empty() {
        return Ok(ApplyOutcome::Nothing);
    }
    keep(&before).map_err(ApplyError::Copy)?;
    Job { ubus, wanted, sections, change, before, session: None, half: None }.run()
}

/// The result of a look at the router.
enum Look {
    Done,
    /// The daemons have not applied this yet.
    NotYet(String),
    /// Waiting does not help.
    Never(String),
}

/// A change in progress.
struct Job<'a, 'w> {
    ubus: &'a mut Ubus,
    wanted: &'a DesiredConfig<'w>,
    sections: Vec<UciSection>,
    change: UciChange,
    before: RouterState,
    /// The session that has applied it.
    session: Option<String>,
    /// The previous state, if it was half of the desired one, which this change completes.
    half: Option<String>,
}

impl Job<'_, '_> {
    fn run(mut self) -> Result<ApplyOutcome, ApplyError> {
        if let Some(why) = self.begin()? {
            return self.settle(why);
        }
        match self.watch() {
            Err(why) => self.undo(why),
            Ok(()) => match self.confirm() {
                Ok(()) => Ok(ApplyOutcome::Applied),
                Err(why) => self.settle(why),
            },
        }
    }

    /// Stages the change and applies it with roll-back. Returns `None` if it is applied, or else
    /// why that is unknown.
    fn begin(&mut self) -> Result<Option<String>, ApplyError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let is_last = tries == TRIES;
            match self.stage() {
                Ok(()) => {}
                Err(UbusError::Refused(_)) if self.is_waiting()? => {
                    return Err(self.ubus.waiting().into());
                }
                // What was staged is lost with its session.
                Err(error) if !is_last && (error.may_pass() || error.is_end_of_session()) => {
                    self.ubus.end_session();
                    self.ubus.wait(RETRY_DELAY);
                    continue;
                }
                Err(error) => return Err(denied(error, "uci revert, delete and add").into()),
            }
            self.session = self.ubus.session();
            let call = UbusCall::uci("apply", json!({ "rollback": true, "timeout": ROLLBACK }));
            match self.ask(call) {
                Ok(()) => return Ok(None),
                Err(UbusError::Refused(_)) if self.is_waiting()? => {
                    return Err(self.ubus.waiting().into());
                }
                Err(error) if error.is_lost() => {
                    self.ubus.wait(RETRY_DELAY);
                    // Nothing waited to be confirmed before this request.
                    match self.is_waiting() {
                        Ok(true) => return Ok(None),
                        Ok(false) if !is_last => {}
                        Ok(false) => return Err(error.into()),
                        Err(_) => return Ok(Some(error.to_string())),
                    }
                }
                // The request was not executed: the session is checked before anything else.
                Err(error) if !is_last && (error.may_pass() || error.is_end_of_session()) => {
                    self.ubus.end_session();
                    self.ubus.wait(RETRY_DELAY);
                }
                Err(error) => return Err(denied(error, "uci apply").into()),
            }
        }
    }

    /// Whether a change waits to be confirmed.
    fn is_waiting(&mut self) -> Result<bool, UbusError> {
        waits(self.ubus.ask(&[probe()])?.remove(0))
    }

    /// Stages the whole change in a session that has nothing else staged.
    fn stage(&mut self) -> Result<(), UbusError> {
        let configs = self.change.configs();
        let mut calls: Vec<UbusCall> = vec![];
        calls.extend(configs.iter().map(|it| UbusCall::uci("revert", json!({ "config": it }))));
        for (config, name) in &self.change.gone {
            calls.push(UbusCall::uci("delete", json!({ "config": config, "section": name })));
        }
        calls.extend(self.change.made.iter().map(add));
        self.ubus.ask(&calls)?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    fn ask(&mut self, call: UbusCall) -> Result<(), UbusError> {
        self.ubus.ask(&[call])?.remove(0).map(drop)
    }

    /// Confirms the change, or rolls it back. It must not log in again: a new session may get
    /// another change of the same login, which must not be touched.
    fn finish(&mut self, method: &'static str) -> Result<(), UbusError> {
        if self.session.is_none() || self.session != self.ubus.session() {
            return Err(UbusError::Session);
        }
        self.ask(UbusCall::uci(method, json!({})))
    }

    /// Waits until the daemons have applied the change.
    fn watch(&mut self) -> Result<(), String> {
        let mut why = String::new();
        for seconds in LOOKS {
            self.ubus.wait(Duration::from_secs(seconds));
            // A new connection, as any later client has: an established one may continue although
            // the new rules do not allow it.
            self.ubus.end_connection();
            match self.look() {
                Ok(Look::Done) => return Ok(()),
                Ok(Look::NotYet(lack)) => why = lack,
                Ok(Look::Never(lack)) => return Err(lack),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// Looks once: reads the running state, and until the change is confirmed also its files.
    fn look(&mut self) -> Result<Look, UbusError> {
        let configs = self.change.configs();
        let gets: Vec<UbusCall> = configs.iter().map(|it| get(it)).collect();
        // A daemon that cannot read its file may not answer.
        let (live, files) = LiveState::with(self.ubus, &gets)?;
        if self.session.is_some() && self.session == self.ubus.session() {
            for (config, file) in configs.into_iter().zip(files) {
                if let Some(lack) = self.unwritten(config, file)? {
                    return Ok(Look::Never(lack));
                }
            }
        }
        Ok(self.missing(&live?).map_or(Look::Done, Look::NotYet))
    }

    /// What a file lacks of what was staged for it.
    fn unwritten(&self, config: &str, file: CallResult) -> Result<Option<String>, UbusError> {
        let there = match file {
            Ok(file) => sections_of(config, &file)?,
            Err(UbusError::Unparsed(_)) => vec![],
            Err(error) => return Err(error),
        };
        let is_gone = |it: &&UciSection| {
            let mut gone = self.change.gone.iter();
            gone.any(|(config, name)| it.config == *config && it.name.as_ref() == Some(name))
        };
        let stays = self.before.sections.iter().filter(|it| it.config == config && !is_gone(it));
        let made = self.change.made.iter().filter(|it| it.config == config);
        let (mut written, mut all) = (0, 0);
        let mut there: Vec<_> = there.iter().map(|it| (sorted(it), is_ours(it))).collect();
        for section in stays.chain(made).map(sorted) {
            all += 1;
            if let Some(at) = there.iter().position(|(it, _)| *it == section) {
                there.swap_remove(at);
                written += 1;
            }
        }
        // Sections that the owner has added meanwhile stay.
        let is_whole = written == all && !there.iter().any(|(_, is_ours)| *is_ours);
        Ok((!is_whole).then(|| {
            format!(
                "the router has written {written} of {all} sections of `/etc/config/{config}` as they were to be: \
                 its flash is probably full (`df /overlay` there says so)"
            )
        }))
    }

    /// The first difference from the desired state.
    fn missing(&self, live: &LiveState) -> Option<String> {
        let first = missing(&self.sections, live).into_iter().next();
        let is_same =
            self.change.configs().contains(&"firewall") && live.rules == self.before.live.rules;
        first.or_else(|| is_same.then(|| "the firewall has the rules of before".to_owned()))
    }

    fn confirm(&mut self) -> Result<(), String> {
        let mut why = String::new();
        for _ in 0..TRIES {
            match self.finish("confirm") {
                Ok(()) => return Ok(()),
                Err(error) if error.may_pass() => {
                    why = error.to_string();
                    self.ubus.wait(RETRY_DELAY);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(why)
    }

    /// Rolls the change back if the router answers; otherwise the router does so by itself.
    fn undo(&mut self, why: String) -> Result<ApplyOutcome, ApplyError> {
        let _ = self.finish("rollback");
        self.settle(why)
    }

    /// Waits until no change waits to be confirmed, and then reads the outcome.
    fn settle(&mut self, why: String) -> Result<ApplyOutcome, ApplyError> {
        let mut last = None;
        for look in 0..SETTLE_LOOKS {
            if look > 0 {
                self.ubus.wait(SETTLES);
            }
            self.ubus.end_connection();
            match RouterState::read(self.ubus) {
                Ok(state) => return self.report(why, state),
                Err(error) => last = Some(error),
            }
        }
        Err(ApplyError::Unknown(why, last.unwrap_or(UbusError::Session)))
    }

    /// Determines the outcome when no change waits to be confirmed.
    fn report(&mut self, why: String, state: RouterState) -> Result<ApplyOutcome, ApplyError> {
        let Ok((sections, change)) = self.wanted.change(&state) else {
            return Err(ApplyError::Neither(why));
        };
        if change.lines.is_empty() {
            // The change is permanent, as if it were confirmed; the daemons may need a while.
            return match self.watch() {
                Ok(()) => Ok(ApplyOutcome::Applied),
                Err(lack) => Err(ApplyError::Kept(why, lack)),
            };
        }
        if state.ours() == self.before.ours() {
            return match self.half.take() {
                None => Ok(ApplyOutcome::Undone(why)),
                Some(half) => Err(ApplyError::Half(half, why)),
            };
        }
        match self.half(&state, &change) {
            Some(half) if self.half.is_none() => {
                let (ubus, wanted, half) = (&mut *self.ubus, self.wanted, Some(half));
                Job { ubus, wanted, sections, change, before: state, session: None, half }.run()
            }
            Some(half) => Err(ApplyError::Half(half, why)),
            None => Err(ApplyError::Neither(why)),
        }
    }

    /// Which files are new and which are old, if each is one of these: the router writes one after
    /// the other, and its power may be cut between two. `change` is what `state` lacks.
    fn half(&self, state: &RouterState, change: &UciChange) -> Option<String> {
        let (lacking, was_to_change) = (change.configs(), self.change.configs());
        let of = |state: &RouterState, config: &str| -> Vec<String> {
            state.ours().into_iter().filter(|it| it.starts_with(&format!("{config}: "))).collect()
        };
        let is_old = |config: &str| of(state, config) == of(&self.before, config);
        let (new, old): (Vec<_>, Vec<_>) =
            was_to_change.iter().partition(|config| !lacking.contains(config));
        let is_half = !new.is_empty()
            && !old.is_empty()
            && lacking.iter().all(|it| old.contains(&it) && is_old(it));
        let files = |names: &[&&str], what: &str| {
            let names: Vec<_> = names.iter().map(|it| format!("`{it}`")).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            format!("{} {verb} as {what}", names.join(" and "))
        };
        is_half.then(|| format!("{}, {}", files(&new, "wanted"), files(&old, "before")))
    }
}

/// If several logins were refused, the ACL is the cause.
fn denied(error: UbusError, call: &str) -> UbusError {
    if error.is_end_of_session() { UbusError::Denied(call.to_owned()) } else { error }
}

fn add(section: &UciSection) -> UbusCall {
    let mut values = Map::new();
    for (key, value) in &section.options {
        values.insert(
            key.clone(),
            match value {
                Value::One(one) => json!(one),
                Value::List(list) => json!(list),
            },
        );
    }
    let args = json!({
        "config": section.config, "type": section.kind, "name": section.name, "values": values,
    });
    UbusCall::uci("add", args)
}
