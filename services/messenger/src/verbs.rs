//! What this unit can be asked.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};

use octet_node::control::{
    ArgKind, Arguments, Capability, ColumnKind, DESCRIBE, Failure, FailureCode, PublicKey, Request,
    Verb,
};
use octet_node::serve::threads::{Limits, serve};
use octet_node::{Callers, PID_1};
use serde_json::{Value, json};

use crate::mailbox::{Mailbox, MailboxError};
use crate::service::Standing;

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
    ]
}

/// Serves the `callers` that connect to `listener`, with threads.
///
/// # Errors
/// There are no threads to be had.
pub fn keep(
    listener: UnixListener,
    callers: Callers,
    mailbox: Arc<Mutex<Mailbox>>,
    standing: Arc<Mutex<Standing>>,
) -> io::Result<()> {
    let reply = move |request: Request| {
        let verbs = verbs();
        let verb = Verb::find(&verbs, &request.verb)?;
        let args = verb.check(request.args)?;
        if verb.name == DESCRIBE {
            return Ok(json!(verbs));
        }
        let mut mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
        answer(&mut mailbox, &standing, &verb.name, &args)
    };
    let run = move || {
        let Err(error) = serve(&listener, &callers, LIMITS, PID_1, move |_, _, it| reply(it));
        eprintln!("the socket is gone: {error}");
    };
    std::thread::Builder::new().name("verbs".into()).spawn(run).map(drop)
}

fn answer(
    mailbox: &mut Mailbox,
    standing: &Standing,
    verb: &str,
    args: &Arguments,
) -> Result<Value, Failure> {
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
        "mailboxes" => {
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
        _ => {
            let residents = mailbox.residents().map_err(failed)?;
            let letters: u64 = residents.iter().map(|one| u64::from(one.letters)).sum();
            Ok(json!({
                "mailbox": standing.own,
                "at": standing.at,
                "kept": if standing.is_on_disk { "on disk" } else { "in memory" },
                "mailboxes": residents.len(),
                "letters": letters,
                "trouble": standing.trouble,
            }))
        }
    }
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
        let mut mailbox = Mailbox::in_memory(own, Default::default()).unwrap();
        let standing = Standing { own: Some(own), ..Standing::default() };
        let mut ask = |verb: &str, name: Option<&str>| {
            let verbs = verbs();
            let verb = Verb::find(&verbs, verb).unwrap();
            let name = name.map(|name| ("name".to_owned(), Value::from(name)));
            let args = verb.check(Map::from_iter(name)).unwrap();
            answer(&mut mailbox, &standing, &verb.name, &args)
        };
        let name = Key::generate().unwrap().public().to_string();
        assert_eq!(ask("mailboxes", None).unwrap(), json!([]));
        ask("admit", Some(&name)).unwrap();
        assert_eq!(ask("mailboxes", None).unwrap()[0]["name"], name);
        let status = ask("status", None).unwrap();
        assert_eq!((&status["mailboxes"], &status["kept"]), (&json!(1), &json!("in memory")));
        assert_eq!(ask("admit", Some("anna")).unwrap_err().code, FailureCode::BadArgument);
        ask("remove", Some(&name)).unwrap();
        assert_eq!(ask("remove", Some(&name)).unwrap_err().code, FailureCode::NotFound);
    }
}
