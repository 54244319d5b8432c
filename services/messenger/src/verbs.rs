//! The verbs of this unit.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use octet_node::Callers;
use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, PublicKey, Verb};
use octet_node::say;
use octet_node::serve::threads::{ConnectionLimits, Verbs, serve};
use octet_node::serve::verbs::{nothing, text};
use serde_json::{Value, json};

use crate::alerts::{Alerts, AlertsError};
use crate::bot::BotEvent;
use crate::mailbox::{Mailbox, MailboxError, Resident};
use crate::service::{NO_DISK, ServiceStatus};
use octet_messages::limits::MAX_ADDRESSES;

/// The maximum number of clients, the number reserved for operators, and the maximum per user.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 16, for_operators: 8, of_one: 4 };

pub fn verbs() -> Verbs<MessengerVerbs> {
    use Permission::{Operate, Read};

    let named = || text("name", "The person's public key: did:key:z6Mk…").parse(name);
    Verbs::default()
        .with(
            Verb::new(
                "status",
                Read,
                "Shows this mailbox's public key, and what is stored in it",
            ),
            nothing(),
            |desk: &MessengerVerbs, _, ()| desk.status(),
        )
        .with(
            Verb::new("mailboxes", Read, "Lists the mailboxes here, and what is stored in each")
                .columns(ColumnKind::Bytes, &["bytes"]),
            nothing(),
            |desk, _, ()| mailboxes(&*desk.mailbox()?),
        )
        .with(
            Verb::new("admit", Operate, "Creates a mailbox for a public key"),
            named(),
            |desk, _, name| {
                desk.mailbox()?.admit(&name).map_err(failed)?;
                // A key has no checksum: the echo lets the user spot a typing error.
                Ok(json!({ "admitted": name }))
            },
        )
        .with(
            Verb::new("remove", Operate, "Deletes a mailbox with all messages in it"),
            named(),
            |desk, _, name| {
                let was_there = desk.mailbox()?.remove(&name).map_err(failed)?;
                let help = "`octetctl messenger mailboxes` shows who has one";
                was_there.then_some(Value::Null).ok_or_else(|| {
                    let message = format!("{name} has no mailbox here");
                    Failure::new(FailureCode::NotFound, message, help)
                })
            },
        )
        .with(
            Verb::new(
                "alerts",
                Read,
                "Shows the current alerts of this board and their subscribers",
            ),
            nothing(),
            |desk, _, ()| {
                let state = desk.storage()?.alerts.lock();
                Ok(json!({ "wrong": state.failures(), "told": state.subscribers().collect::<Vec<_>>() }))
            },
        )
        .with(
            Verb::new("subscribe", Read, "Sends alerts to somebody who has written to this node"),
            named(),
            |desk, _, name| {
                let mut state = desk.storage()?.alerts.lock();
                let wrong = state.subscribe(name).map_err(subscription_failure)?;
                Ok(json!({ "wrong": wrong }))
            },
        )
        .with(
            Verb::new("unsubscribe", Read, "Sends no more alerts to somebody"),
            named(),
            |desk, _, name| {
                let was_told = desk.storage()?.alerts.lock().unsubscribe(&name).map_err(subscription_failure)?;
                let help = "`octetctl messenger alerts` shows who is told";
                was_told.then_some(Value::Null).ok_or_else(|| {
                    Failure::new(FailureCode::NotFound, format!("{name} is not told"), help)
                })
            },
        )
        .with(
            Verb::new(
                "invite",
                Operate,
                "Prints the invitation by which operators send commands to this box",
            ),
            text("at", "Where it is reached: 192.0.2.7:4434; up to three, separated by commas").parse(addresses),
            |desk, _, at| {
                ask_bot(&desk.storage()?.bot, |to| BotEvent::Invite(at, to))
                    .map(|line| json!({ "invite": line }))
            },
        )
        .with(
            Verb::new(
                "forget",
                Operate,
                "Deletes a person who has sent commands to this board, with the keys of the conversation",
            ),
            named(),
            |desk, _, name| {
                let known = desk.storage()?;
                let was_told = known.alerts.lock().unsubscribe(&name).map_err(subscription_failure)?;
                let was_known = ask_bot(&known.bot, |to| BotEvent::Forget(name, to))?;
                (was_known || was_told).then_some(Value::Null).ok_or_else(|| {
                    let help = "it is the name that `octet-msg people` shows on their machine";
                    Failure::new(FailureCode::NotFound, format!("{name} is not known here"), help)
                })
            },
        )
}

/// The state of a node with a disk.
pub struct Storage {
    pub mailbox: Arc<Mutex<Mailbox>>,
    /// The node as a person.
    pub bot: SyncSender<BotEvent>,
    /// The alert subscribers.
    pub alerts: Alerts,
}

/// The state of the verbs. Without a disk there is only `status`.
pub struct MessengerVerbs {
    storage: Option<Storage>,
    status: Arc<Mutex<ServiceStatus>>,
}

/// The timeout of the bot.
const TIMEOUT: Duration = Duration::from_secs(90);

impl MessengerVerbs {
    fn storage(&self) -> Result<&Storage, Failure> {
        let help = "`boot` says how the data partition is; ask another node meanwhile";
        self.storage.as_ref().ok_or_else(|| Failure::new(FailureCode::Failed, NO_DISK, help))
    }

    fn mailbox(&self) -> Result<MutexGuard<'_, Mailbox>, Failure> {
        Ok(self.storage()?.mailbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn status(&self) -> Result<Value, Failure> {
        let mailbox = self.mailbox().ok();
        let residents = mailbox.map_or(Ok(vec![]), |it| it.residents()).map_err(failed)?;
        let letters: u64 = residents.iter().map(|one| u64::from(one.letters)).sum();
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(json!({
            "mailbox": status.key,
            "at": status.addresses,
            "mailboxes": residents.len(),
            "messages": letters,
            "boards": status.boards.count(),
            "trouble": status.error,
        }))
    }
}

fn mailboxes(mailbox: &Mailbox) -> Result<Value, Failure> {
    let residents = mailbox.residents().map_err(failed)?;
    let row = |one: &Resident| {
        json!({
            "name": one.name,
            "has_keys": one.has_keys,
            "one_time_keys": one.keys,
            "messages": one.letters,
            "bytes": one.bytes,
        })
    };
    Ok(residents.iter().map(row).collect())
}

fn addresses(at: String) -> Result<Vec<SocketAddr>, Failure> {
    let addresses: Option<Vec<SocketAddr>> =
        at.split(',').map(|address| address.parse().ok()).collect();
    addresses.filter(|all| all.len() <= MAX_ADDRESSES).ok_or_else(|| {
        let help = "write it as 192.0.2.7:4434, with further ones after commas, three at most";
        Failure::new(FailureCode::BadArgument, format!("`{at}` is not an address"), help)
    })
}

/// The bot's answer to a call.
fn ask_bot<T>(
    bot: &SyncSender<BotEvent>,
    call: impl FnOnce(Sender<Result<T, String>>) -> BotEvent,
) -> Result<T, Failure> {
    let (to, answer) = channel();
    let gone = |error: String| format!("commands by message are not accepted: {error}");
    let called = bot.send(call(to)).map_err(|error| gone(error.to_string()));
    let answered = called.and_then(|()| {
        answer.recv_timeout(TIMEOUT).map_err(|error| gone(error.to_string())).flatten()
    });
    answered.map_err(|problem| {
        let help = "`logs messenger` may say more; then ask again";
        Failure::new(FailureCode::Failed, problem, help)
    })
}

/// Serves the `callers` that connect to `listener`, in threads. Without `known` there is only
/// `status`.
///
/// # Errors
/// No thread can be started.
pub fn listen(
    listener: UnixListener,
    callers: Callers,
    storage: Option<Storage>,
    status: Arc<Mutex<ServiceStatus>>,
) -> io::Result<()> {
    let desk = MessengerVerbs { storage, status };
    let run = move || {
        let Err(error) = serve(&listener, &callers, LIMITS, verbs(), desk);
        say!("the control socket is closed: {error}");
    };
    std::thread::Builder::new().name("verbs".into()).spawn(run).map(drop)
}

fn name(name: String) -> Result<PublicKey, Failure> {
    PublicKey::try_from(name).map_err(|error| {
        let help = "`octet-msg invite` shows it on their machine";
        Failure::new(FailureCode::BadArgument, error.to_string(), help)
    })
}

fn subscription_failure(error: AlertsError) -> Failure {
    Failure::new(FailureCode::Failed, error.to_string(), error.help())
}

fn failed(error: MailboxError) -> Failure {
    let help = "see what `octetctl logs` says of the disk";
    Failure::new(FailureCode::Failed, error.to_string(), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::Peer;
    use octet_node::control::Request;
    use octet_node::key::PrivateKey;
    use serde_json::Map;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::sync_channel;

    fn ask(desk: &MessengerVerbs, verb: &str, name: Option<&str>) -> Result<Value, Failure> {
        let name = name.map(|name| ("name".to_owned(), Value::from(name)));
        let args = Map::from_iter(name);
        let request = Request { id: 1, unit: None, verb: verb.to_owned(), args, by: None };
        verbs().answer(
            desk,
            &mut Peer::new(UnixStream::pair().unwrap().0),
            octet_node::PID_1,
            request,
        )
    }

    #[test]
    fn a_mailbox_is_made_shown_and_taken_away() {
        let own = PrivateKey::generate().unwrap().public();
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let mailbox = Mailbox::open(&path("letters"), own, Default::default()).unwrap();
        let alerts = Alerts::open(path("alerts")).unwrap();
        let known =
            Storage { mailbox: Arc::new(Mutex::new(mailbox)), bot: sync_channel(1).0, alerts };
        let status = ServiceStatus { key: Some(own), ..ServiceStatus::default() };
        let mut desk =
            MessengerVerbs { storage: Some(known), status: Arc::new(Mutex::new(status)) };
        let name = PrivateKey::generate().unwrap().public().to_string();
        assert_eq!(ask(&desk, "mailboxes", None).unwrap(), json!([]));
        assert_eq!(ask(&desk, "admit", Some(&name)).unwrap(), json!({ "admitted": name }));
        assert_eq!(ask(&desk, "mailboxes", None).unwrap()[0]["name"], name);
        assert_eq!(ask(&desk, "status", None).unwrap()["mailboxes"], 1);
        let nobody = ask(&desk, "admit", Some("anna")).unwrap_err();
        assert_eq!(nobody.code, FailureCode::BadArgument);
        ask(&desk, "remove", Some(&name)).unwrap();
        let gone = ask(&desk, "remove", Some(&name)).unwrap_err();
        assert_eq!(gone.code, FailureCode::NotFound);
        desk.storage = None; // a node without a disk
        assert_eq!(ask(&desk, "status", None).unwrap()["mailboxes"], 0);
        let refused = ask(&desk, "admit", Some(&name)).unwrap_err();
        assert_eq!(refused.message, NO_DISK);
    }
}
