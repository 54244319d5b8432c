//! What this unit can be asked.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{SyncSender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use octet_node::control::{
    ArgKind, Arguments, Capability, ColumnKind, DESCRIBE, Failure, FailureCode, PublicKey, Request,
    Verb,
};
use octet_node::say;
use octet_node::serve::threads::{Limits, serve};
use octet_node::{Callers, PID_1};
use serde_json::{Value, json};

use crate::alerts::{Alerts, AlertsError};
use crate::bot::Call;
use crate::limits::ADDRESSES;
use crate::mailbox::{Mailbox, MailboxError};
use crate::service::{NO_DISK, Standing};

/// How many clients there may be, how many of them are kept for operators, and how many one user may be.
const LIMITS: Limits = Limits { all: 16, for_operators: 8, of_one: 4 };

/// All of them.
pub fn verbs() -> Vec<Verb> {
    use Capability::{Operate, Read};
    let named = |verb: Verb| verb.required("name", ArgKind::Text, "Whose it is: did:key:z6Mk…");
    vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        Verb::new("status", Read, "Shows by what people know this mailbox, and what lies in it"),
        Verb::new("mailboxes", Read, "Shows who has a mailbox here, and what lies in each")
            .shown(ColumnKind::Bytes, &["bytes"]),
        named(Verb::new("admit", Operate, "Makes a mailbox for somebody")),
        named(Verb::new("remove", Operate, "Takes a mailbox away, with all that lies in it")),
        Verb::new(
            ALERTS,
            Read,
            "Shows what is wrong with this board, and who is told of it by letter",
        ),
        named(Verb::new(SUBSCRIBE, Read, "Has somebody who has written here told what is wrong")),
        named(Verb::new(UNSUBSCRIBE, Read, "Has somebody told nothing any more")),
        Verb::new(INVITE, Operate, "Shows the line by which operators write commands to this box")
            .required("at", ArgKind::Text, "Where they reach it: 192.0.2.7:4434, three at most"),
    ]
}

/// The verb that makes the box somebody to write to.
const INVITE: &str = "invite";

/// The verbs about who is told what is wrong.
const ALERTS: &str = "alerts";
const SUBSCRIBE: &str = "subscribe";
const UNSUBSCRIBE: &str = "unsubscribe";

/// What there is on a node with a disk.
pub struct Known {
    /// The letters.
    pub mailbox: Arc<Mutex<Mailbox>>,
    /// The node as a person.
    pub bot: SyncSender<Call>,
    /// Who is told what is wrong.
    pub alerts: Alerts,
}

/// How long the line may take.
const PATIENCE: Duration = Duration::from_secs(90);

fn invite(args: &Arguments, bot: &SyncSender<Call>) -> Result<Value, Failure> {
    let at = args.text("at").unwrap_or_default();
    let addresses: Option<Vec<SocketAddr>> =
        at.split(',').map(|address| address.parse().ok()).collect();
    let addresses = addresses.filter(|all| all.len() <= ADDRESSES).ok_or_else(|| {
        let help = "write it as 192.0.2.7:4434, with further ones after commas, three at most";
        Failure::new(FailureCode::BadArgument, format!("`{at}` is no address"), help)
    })?;
    let (to, line) = channel();
    let gone = |_| "commands by letter are not taken".to_owned();
    let asked = bot.send(Call::Invite(addresses, to)).map_err(|error| gone(error.to_string()));
    let line = asked.and_then(|()| {
        line.recv_timeout(PATIENCE).map_err(|error| gone(error.to_string())).and_then(|line| line)
    });
    line.map(|line| json!({ "invite": line })).map_err(|problem| {
        let help = "`logs messenger` may say more; then ask again";
        Failure::new(FailureCode::Failed, problem, help)
    })
}

fn alerts(verb: &str, args: &Arguments, alerts: &Alerts) -> Result<Value, Failure> {
    let failed =
        |error: AlertsError| Failure::new(FailureCode::Failed, error.to_string(), error.help());
    let mut state = alerts.lock();
    match verb {
        SUBSCRIBE => {
            let wrong = state.subscribe(named(args)?).map_err(failed)?;
            Ok(json!({ "wrong": wrong }))
        }
        UNSUBSCRIBE => {
            let name = named(args)?;
            let help = "`octetctl messenger alerts` shows who is told";
            let absent =
                || Failure::new(FailureCode::NotFound, format!("{name} is not told"), help);
            let was_told = state.unsubscribe(&name).map_err(failed)?;
            was_told.then_some(Value::Null).ok_or_else(absent)
        }
        // alerts: there is no other
        _ => Ok(json!({ "wrong": state.wrong(), "told": state.who().collect::<Vec<_>>() })),
    }
}

/// Serves the `callers` that connect to `listener`, with threads. Without what is `known` there is nothing but `status`.
///
/// # Errors
/// There are no threads to be had.
pub fn keep(
    listener: UnixListener,
    callers: Callers,
    known: Option<Known>,
    standing: Arc<Mutex<Standing>>,
) -> io::Result<()> {
    let reply = move |request: Request| {
        let verbs = verbs();
        let verb = Verb::find(&verbs, &request.verb)?;
        let args = verb.check(request.args)?;
        if verb.name == DESCRIBE {
            return Ok(json!(verbs));
        }
        match (verb.name.as_str(), &known) {
            (INVITE, Some(known)) => return invite(&args, &known.bot),
            (ALERTS | SUBSCRIBE | UNSUBSCRIBE, Some(known)) => {
                return alerts(&verb.name, &args, &known.alerts);
            }
            _ => {}
        }
        let mut mailbox = known
            .as_ref()
            .map(|known| known.mailbox.lock().unwrap_or_else(PoisonError::into_inner));
        let standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
        answer(mailbox.as_deref_mut(), &standing, &verb.name, &args)
    };
    let run = move || {
        let Err(error) = serve(&listener, &callers, LIMITS, PID_1, move |_, _, it| reply(it));
        say!("the socket is gone: {error}");
    };
    std::thread::Builder::new().name("verbs".into()).spawn(run).map(drop)
}

fn answer(
    mailbox: Option<&mut Mailbox>,
    standing: &Standing,
    verb: &str,
    args: &Arguments,
) -> Result<Value, Failure> {
    if verb == "status" {
        return status(mailbox.as_deref(), standing);
    }
    let mailbox = mailbox.ok_or_else(|| {
        let help = "`boot` says how the data partition is; ask another node meanwhile";
        Failure::new(FailureCode::Failed, NO_DISK, help)
    })?;
    match verb {
        "admit" => {
            mailbox.admit(&named(args)?).map_err(failed)?;
            Ok(Value::Null)
        }
        "remove" => {
            let name = named(args)?;
            let was_there = mailbox.remove(&name).map_err(failed)?;
            let help = "`octetctl messenger mailboxes` shows who has one";
            let absent =
                || Failure::new(FailureCode::NotFound, format!("{name} has no mailbox here"), help);
            was_there.then_some(Value::Null).ok_or_else(absent)
        }
        // mailboxes: the list has no other
        _ => {
            let residents = mailbox.residents().map_err(failed)?;
            Ok(residents
                .iter()
                .map(|one| {
                    json!({
                        "name": one.name,
                        "has keys": one.has_keys,
                        "one-time keys": one.keys,
                        "letters": one.letters,
                        "bytes": one.bytes,
                    })
                })
                .collect())
        }
    }
}

fn status(mailbox: Option<&Mailbox>, standing: &Standing) -> Result<Value, Failure> {
    let residents = mailbox.map_or(Ok(vec![]), Mailbox::residents).map_err(failed)?;
    let letters: u64 = residents.iter().map(|one| u64::from(one.letters)).sum();
    Ok(json!({
        "mailbox": standing.own,
        "at": standing.at,
        "mailboxes": residents.len(),
        "letters": letters,
        "boards": standing.boards.count(),
        "trouble": standing.trouble,
    }))
}

fn named(args: &Arguments) -> Result<PublicKey, Failure> {
    let name = args.text("name").unwrap_or_default().to_owned();
    PublicKey::try_from(name).map_err(|error| {
        let help = "`octet-msg invite` shows it on their machine";
        Failure::new(FailureCode::BadArgument, error.to_string(), help)
    })
}

fn failed(error: MailboxError) -> Failure {
    Failure::new(
        FailureCode::Failed,
        error.to_string(),
        "see what `octetctl logs` says of the disk",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::Key;
    use serde_json::Map;

    #[test]
    fn a_mailbox_is_made_shown_and_taken_away() {
        let own = Key::generate().unwrap().public();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        let mut mailbox = Some(Mailbox::open(&path, own, Default::default()).unwrap());
        let standing = Standing { own: Some(own), ..Standing::default() };
        let ask = |mailbox: &mut Option<Mailbox>, verb: &str, name: Option<&str>| {
            let verbs = verbs();
            let verb = Verb::find(&verbs, verb).unwrap();
            let name = name.map(|name| ("name".to_owned(), Value::from(name)));
            let args = verb.check(Map::from_iter(name)).unwrap();
            answer(mailbox.as_mut(), &standing, &verb.name, &args)
        };
        let name = Key::generate().unwrap().public().to_string();
        assert_eq!(ask(&mut mailbox, "mailboxes", None).unwrap(), json!([]));
        ask(&mut mailbox, "admit", Some(&name)).unwrap();
        assert_eq!(ask(&mut mailbox, "mailboxes", None).unwrap()[0]["name"], name);
        assert_eq!(ask(&mut mailbox, "status", None).unwrap()["mailboxes"], 1);
        let nobody = ask(&mut mailbox, "admit", Some("anna")).unwrap_err();
        assert_eq!(nobody.code, FailureCode::BadArgument);
        ask(&mut mailbox, "remove", Some(&name)).unwrap();
        let gone = ask(&mut mailbox, "remove", Some(&name)).unwrap_err();
        assert_eq!(gone.code, FailureCode::NotFound);
        // A node without a disk.
        assert_eq!(ask(&mut None, "status", None).unwrap()["mailboxes"], 0);
        let refused = ask(&mut None, "admit", Some(&name)).unwrap_err();
        assert_eq!(refused.message, NO_DISK);
    }
}
