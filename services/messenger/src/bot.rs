//! The node as a person: it receives signed commands, passes each to the gate, and replies with the
//! gate's answer. The gate alone authorizes commands.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use octet_node::command::Command;
use octet_node::control::PublicKey;
use octet_node::durable;
use octet_node::key::{PrivateKey, random};
use octet_node::limits::{Rate, RateLimiter};
use octet_node::say;
use octet_node::sub_key::Certified;

use crate::alerts::Alerts;
use crate::boards::MapBoards;
use crate::gate;
use crate::local::Local;
use crate::mailbox::{Mailbox, MailboxError, WakeCallback};
use octet_messages::courier::{Courier, CourierError};
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::person::{EventError, Person, PersonEvent};
use octet_messages::quic::{now, send_request};
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_messages::store::{PersonStore, PersonStoreError};

/// The person's folder in the service's data folder, and the file of its store's key.
const FOLDER: &str = "bot";
const SECRET: &str = "secret";

/// The pause before an undelivered message is retried.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// The minimum interval of alerts.
const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// The rate limit of answers per person, and the number of remembered persons.
const ANSWER_RATE: Rate = Rate { burst: 30, interval: Duration::from_secs(2) };
const MAX_TRACKED: usize = 256;

/// The timeout of a relayed command: longer than that of its gate.
const RELAY_TIMEOUT: Duration =
    Duration::from_secs(gate::TOTAL_TIMEOUT.as_secs() + gate::ANSWER_TIMEOUT.as_secs() + 10);

pub enum BotEvent {
    Wake,
    /// The service's key has changed.
    Key(Certified),
    /// Set the node's addresses, and return its invite.
    Invite(Vec<SocketAddr>, Sender<Result<String, String>>),
    /// Forget a contact, and return whether there was one.
    Forget(PublicKey, Sender<Result<bool, String>>),
    /// Stop, and close the store.
    Stop,
}

#[derive(Debug, thiserror::Error)]
enum BotError {
    #[error(transparent)]
    Store(#[from] PersonStoreError),
    #[error(transparent)]
    Courier(#[from] CourierError),
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("no keys could be made")]
    Keys,
}

struct Bot {
    folder: PathBuf,
    gate: PathBuf,
    boards: MapBoards,
    alerts: Alerts,
    /// When the last alert was sent.
    last_alert: Option<Instant>,
    mailbox: Arc<Mutex<Mailbox>>,
    waker: WakeCallback,
    certified: Option<Certified>,
    courier: Option<Courier<Local>>,
    answers: RateLimiter<PublicKey>,
}

/// Starts the bot's thread. Returns its event channel, and a receiver that is disconnected when the
/// thread ends. Its files are in `folder`, and the gate's socket is in `sockets`.
///
/// # Errors
/// No thread can be started.
pub fn start(
    folder: &Path,
    sockets: &Path,
    mailbox: Arc<Mutex<Mailbox>>,
    boards: MapBoards,
    alerts: Alerts,
) -> io::Result<(SyncSender<BotEvent>, Receiver<()>)> {
    // If the channel is full, the message is fetched together with those that filled it.
    let (bell, calls) = sync_channel(16);
    let (folder, gate) = (folder.join(FOLDER), sockets.join("gate.sock"));
    let wake = bell.clone();
    // A full channel means that the bot is about to run anyway.
    let waker: WakeCallback = Arc::new(move || drop(wake.try_send(BotEvent::Wake)));
    let (running, ended) = channel();
    let run = move || {
        let _running = running;
        let answers = RateLimiter::new(ANSWER_RATE, MAX_TRACKED);
        let (certified, courier) = (None, None);
        let last_alert = None;
        let bot = Bot {
            folder,
            gate,
            boards,
            alerts,
            last_alert,
            mailbox,
            waker,
            certified,
            courier,
            answers,
        };
        if let Err(error) = bot.run(&calls) {
            say!("commands by message are not accepted until the next start: {error}");
        }
    };
    std::thread::Builder::new().name("bot".into()).spawn(run)?;
    Ok((bell, ended))
}

impl Bot {
    fn run(mut self, calls: &Receiver<BotEvent>) -> Result<(), BotError> {
        let mut is_waiting = false;
        loop {
            let call = if is_waiting {
                calls.recv_timeout(RETRY_DELAY)
            } else {
                calls.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match call {
                Err(RecvTimeoutError::Disconnected) | Ok(BotEvent::Stop) => return Ok(()),
                Err(RecvTimeoutError::Timeout) | Ok(BotEvent::Wake) => {}
                Ok(BotEvent::Key(certified)) => {
                    self.certified = Some(certified);
                    self.load()?;
                }
                Ok(BotEvent::Invite(addresses, to)) => {
                    // The caller may have disconnected.
                    let _ = to.send(self.invite(addresses)?);
                }
                Ok(BotEvent::Forget(name, to)) => {
                    let _ = to.send(Ok(self.forget(name)?));
                }
            }
            is_waiting = self.process()?;
        }
    }

    /// The invite as a line, or why there is none.
    fn invite(&mut self, addresses: Vec<SocketAddr>) -> Result<Result<String, String>, BotError> {
        let Some(certified) = self.certified.clone() else {
            return Ok(Err("this service's key is not certified yet".to_owned()));
        };
        let place = MailboxAddress { mailbox: certified.key.public(), addresses };
        if self.courier.is_none() {
            self.make(&certified, &place)?;
        }
        self.register(&certified, place)?;
        Ok(self.invite_line().ok_or_else(|| "there is no person yet".to_owned()))
    }

    /// Returns whether `name` was a contact.
    fn forget(&mut self, name: PublicKey) -> Result<bool, BotError> {
        let Some(courier) = &mut self.courier else { return Ok(false) };
        match courier.apply(PersonEvent::Forget(name), now()) {
            Ok(()) => Ok(true),
            Err(CourierError::Refused(EventError::Unknown)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn invite_line(&self) -> Option<String> {
        Some(self.courier.as_ref()?.person().invite().to_string())
    }

    fn make(&mut self, certified: &Certified, place: &MailboxAddress) -> Result<(), BotError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // Remains of an interrupted creation were never announced.
        for file in ["keys", "rows"] {
            match std::fs::remove_file(self.folder.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        let secret: [u8; 32] = random().map_err(|_| BotError::Keys)?;
        let seal = random().map_err(|_| BotError::Keys)?;
        let made = Person::of_node(certified, seal, vec![place.clone()], now());
        let (_, rows) = made.ok_or(BotError::Keys)?;
        let store = PersonStore::create(&self.folder, secret)?;
        store.write(&rows)?;
        // This file completes the creation.
        durable::replace(&self.folder.join(SECRET), &secret)?;
        self.courier = Some(Courier::new(store, Local::new(Arc::clone(&self.mailbox))?)?);
        Ok(())
    }

    /// Loads the stored person, if there is one.
    fn load(&mut self) -> Result<(), BotError> {
        let Some(certified) = self.certified.clone() else { return Ok(()) };
        if self.courier.is_none() {
            let Some(bytes) = durable::read(&self.folder.join(SECRET), 32)? else { return Ok(()) };
            let secret = <[u8; 32]>::try_from(bytes).map_err(|_| PersonStoreError::WrongKey)?;
            let store = PersonStore::open(&self.folder, secret)?;
            self.courier = Some(Courier::new(store, Local::new(Arc::clone(&self.mailbox))?)?);
        }
        let saved = self.courier.as_ref().and_then(|courier| courier.person().mailboxes().next());
        let Some(saved) = saved.cloned() else { return Ok(()) };
        self.register(&certified, MailboxAddress { mailbox: certified.key.public(), ..saved })
    }

    /// Registers the person at the mailbox, reachable at `place`.
    fn register(&mut self, certified: &Certified, place: MailboxAddress) -> Result<(), BotError> {
        let Some(courier) = &mut self.courier else { return Ok(()) };
        courier.apply(PersonEvent::ChangeIdentity(certified.clone(), vec![place]), now())?;
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        mailbox.set_key(certified.key.public());
        mailbox.admit(&courier.person().name())?;
        mailbox.add_waker(courier.person().name().as_bytes(), &self.waker);
        Ok(())
    }

    /// Carries out all pending work. Returns whether something must be retried.
    fn process(&mut self) -> Result<bool, BotError> {
        let (Some(courier), Some(certified)) = (&mut self.courier, &self.certified) else {
            return Ok(false);
        };
        let mut left = courier.deliver(now())?;
        match courier.fetch(now()) {
            Err(CourierError::Store(error)) => return Err(error.into()),
            Err(error) => left.push(error),
            Ok(others) => left.extend(others),
        }
        let known = courier.person().contacts().map(|(name, _)| *name);
        self.alerts.lock().known = known.collect();
        let (mut is_answered, mut is_later) = (false, false);
        loop {
            let (end, next) = courier.person().history();
            if next >= end {
                break;
            }
            let lines = courier.store().history(next, next + 1)?;
            let Some(line) = lines.into_iter().next() else { break };
            // Unknown senders, and those above the rate limit, get no answer: their messages cost
            // little, and do not make them contacts.
            let mut command = Command::try_from(line.text.trim().to_owned()).ok();
            if let Some(signed) = &command {
                match gate::is_operator(&self.gate, &signed.body().operator) {
                    Ok(true) => {
                        let now = Duration::from_secs(now());
                        command = command.filter(|_| self.answers.allows(line.peer, now));
                    }
                    Ok(false) => command = None,
                    // The message stays until the gate answers.
                    Err(_) => {
                        is_later = true;
                        break;
                    }
                }
            }
            let answer = command.map(|command| {
                let target = command.body().target;
                let is_own = certified.certificate.body().node == target;
                match self.boards.address(&target).filter(|_| !is_own) {
                    Some(place) => relay(&certified.key, &place, line.text.trim()),
                    None => gate::run(&self.gate, line.text.trim()),
                }
            });
            match courier.apply(PersonEvent::Answered(line.peer, answer), now()) {
                // The person has a thousand unfetched answers, or was displaced as an unknown
                // sender.
                Err(CourierError::Refused(EventError::OutboxFull | EventError::Unknown)) => {
                    courier.apply(PersonEvent::Answered(line.peer, None), now())?;
                }
                told => told?,
            }
            is_answered = true;
        }
        let letter = self.alerts.lock().text();
        // Frequent changes are combined into fewer alerts.
        let is_early = self.last_alert.is_some_and(|told| told.elapsed() < ALERT_INTERVAL);
        is_later |= letter.is_some() && is_early;
        if let Some(letter) = letter.filter(|_| !is_early) {
            let (who, wrong) = {
                let alerts = self.alerts.lock();
                (alerts.subscribers().copied().collect::<Vec<_>>(), alerts.failures().clone())
            };
            for name in who {
                match courier.apply(PersonEvent::Notify(name, letter.clone()), now()) {
                    // The person has a thousand unfetched messages.
                    Err(CourierError::Refused(_)) => {}
                    told => told?,
                }
            }
            if let Err(error) = self.alerts.lock().mark_sent(wrong) {
                say!("the sent alerts cannot be recorded: {error}");
            }
            self.last_alert = Some(Instant::now());
            is_answered = true;
        }
        if is_answered {
            left = courier.deliver(now())?;
            courier.store().rotate()?;
        }
        Ok(is_later || !left.is_empty())
    }
}

/// The answer to `command` of the board whose messenger is at `place`.
fn relay(own: &PrivateKey, place: &MailboxAddress, command: &str) -> String {
    match send_request(own, place, &SignedRequest::Run(command.to_owned()), RELAY_TIMEOUT) {
        Some(MailboxReply::Said(said)) => gate::truncate(said),
        Some(MailboxReply::Refused(why)) => format!("not done: the board says: {why}"),
        _ => "not known whether it was done: the board does not answer: see `boards`, and say it again".to_owned(),
    }
}
