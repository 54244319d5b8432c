//! What this unit can be asked, and how it answers; but for `map`, which goes on.

use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{
    ArgKind, Arguments, Capability, ColumnKind, DESCRIBE, Failure, FailureCode, Verb,
};
use octet_node::map::MAP;
use octet_node::record::Record;
use octet_node::say;
use octet_node::settings::{self, Which};
use octet_node::statement::Statement;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::holder::Unchanged;
use crate::node::{Node, Role};
use crate::place::Place;
use crate::settings::Settings;
use crate::traffic;

/// All of them.
pub fn verbs() -> Vec<Verb> {
    use Capability::{Operate, Own, Read};

    let number = |verb: Verb| verb.required("number", ArgKind::Text, "The board's number");
    let record = |verb: Verb| {
        verb.optional("record", ArgKind::Option, "An owner's record of the board's key")
    };
    let own = vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        Verb::new("show", Read, "Shows each board: its key, whether it is there, who was refused")
            .optional("board", ArgKind::Integer, "All about one, with what it says of itself"),
        Verb::new("status", Read, "Shows how each node of the box is; PID 1's is `status --box`")
            .shown(ColumnKind::Bytes, &["received", "sent", "memory", "total"])
            .shown(ColumnKind::Milliseconds, &["uptime"]),
        Verb::new(MAP, Read, "Gives the map, and again whenever there is a newer one"),
        record(number(Verb::new("approve", Own, "Takes the key that waits at a board"))),
        record(number(Verb::new(
            "replace",
            Own,
            "Lets one other key be a board, the next that comes",
        ))),
        number(Verb::new("record", Own, "Puts an owner's word on a board's key into the map"))
            .required("record", ArgKind::Text, "As `octetctl vouch` signs and sends it"),
        number(Verb::new("revoke", Own, "Takes a board's key away: it never comes back")),
        number(Verb::new("drain", Operate, "Stops what is placed on a board, until `undrain`")),
        number(Verb::new(
            "undrain",
            Operate,
            "Has run on a board again what the settings place there",
        )),
        Verb::new("adopt", Own, "Makes this node the holder of the map, as an owner has stated")
            .required("statement", ArgKind::Text, "As `octetctl sign-holder` prints it"),
    ];
    own.into_iter().chain(settings::verbs()).collect()
}

/// The answer of `node` to `verb`, which is one of these.
///
/// # Errors
/// It cannot be.
pub async fn answer(node: &Node, verb: &str, args: &Arguments) -> Result<Value, Failure> {
    match verb {
        "show" => show(node, args),
        "status" => status(node).await,
        CHECK => read(node, Which::Next).await.map(|_| Value::Null),
        APPLY => apply(node).await,
        "approve" => {
            let (number, record) = (number(args)?, record(args)?);
            let key = holder(node)?.approve(number, record).await.map_err(failure)?;
            say!("board {number} is {key}: an owner has approved it");
            Ok(json!({ "board": number, "node": key }))
        }
        "replace" => {
            let (number, record) = (number(args)?, record(args)?);
            holder(node)?.replace(number, record).await.map_err(failure)?;
            say!("board {number}: an owner lets one other key take its place");
            Ok(json!({ "board": number, "next": "the next key that comes takes its place" }))
        }
        "record" => {
            let (number, record) = (number(args)?, record(args)?.ok_or_else(no_record)?);
            let key = holder(node)?.record(number, record).await.map_err(failure)?;
            say!("board {number} is {key}: an owner has signed that");
            Ok(json!({ "board": number, "node": key }))
        }
        "drain" | "undrain" => {
            let (number, drained) = (number(args)?, verb == "drain");
            let key = holder(node)?.drain(number, drained).await.map_err(failure)?;
            say!("board {number} is {}drained", if drained { "" } else { "no longer " });
            Ok(json!({ "board": number, "node": key, "drained": drained }))
        }
        "revoke" => {
            let number = number(args)?;
            let key = holder(node)?.revoke(number).await.map_err(failure)?;
            say!("board {number}: an owner has revoked its key {key}");
            let next = format!("`cluster replace {number}` lets another key take its place");
            Ok(json!({ "revoked": key, "next": next }))
        }
        "adopt" => {
            let text = args.text("statement").unwrap_or_default().to_owned();
            let statement = Statement::try_from(text).map_err(|error| {
                let help = "give it as `octetctl sign-holder` has printed it";
                Failure::new(FailureCode::BadArgument, error.to_string(), help)
            })?;
            let epoch = holder(node)?.adopt(statement).await.map_err(failure)?;
            say!("an owner has stated that this node holds the map: epoch {epoch}");
            Ok(json!({ "epoch": epoch }))
        }
        _ => Ok(json!(verbs())), // describe: the list has no other
    }
}

fn show(node: &Node, args: &Arguments) -> Result<Value, Failure> {
    if let Some(board) = args.integer("board") {
        // What is larger than a number can be is no board either.
        let number = u8::try_from(board).unwrap_or(u8::MAX);
        return holder(node)?.show_board(number).map_err(failure);
    }
    let role = node.role.borrow().clone();
    let mut shown = match role {
        Role::Idle(why) => json!({ "this is": why }),
        Role::Holder(holder) => holder.show().map_err(failure)?,
        Role::Member(member) => member.show(),
    };
    if let Some(trouble) = &node.trouble {
        shown["trouble"] = json!(trouble);
    }
    Ok(shown)
}

async fn status(node: &Node) -> Result<Value, Failure> {
    let role = node.role.borrow().clone();
    match role {
        Role::Idle(why) => Ok(json!({ "this is": why })),
        Role::Holder(holder) => {
            let traffic = traffic::ask(node.sockets.clone()).await;
            holder.status(&traffic).map_err(failure)
        }
        Role::Member(member) => Ok(member.status()),
    }
}

fn holder(node: &Node) -> Result<std::rc::Rc<crate::holder::Holder>, Failure> {
    match &*node.role.borrow() {
        Role::Holder(holder) => Ok(holder.clone()),
        _ => {
            let help = "ask the holder: the router, or the board with the role `manager`";
            Err(Failure::new(FailureCode::Failed, "this node does not hold the map", help))
        }
    }
}

fn failure(problem: Unchanged) -> Failure {
    let code = match problem {
        Unchanged::CannotBe(_)
        | Unchanged::Refused(_)
        | Unchanged::NotStated(_)
        | Unchanged::Forbidden(_) => FailureCode::Denied,
        _ => FailureCode::Failed,
    };
    Failure::new(code, problem.to_string(), problem.help())
}

fn number(args: &Arguments) -> Result<u8, Failure> {
    let text = args.text("number").unwrap_or_default();
    text.parse().map_err(|_| {
        let message = format!("`{text}` is no number of a board");
        Failure::new(FailureCode::BadArgument, message, "`cluster show` lists them")
    })
}

fn record(args: &Arguments) -> Result<Option<Record>, Failure> {
    let Some(text) = args.text("record") else { return Ok(None) };
    Record::try_from(text.to_owned()).map(Some).map_err(|error| {
        let help = "give it as an owner has signed it, or leave it out";
        Failure::new(FailureCode::BadArgument, error.to_string(), help)
    })
}

fn no_record() -> Failure {
    let help = "give it as an owner has signed it: `octetctl vouch` does";
    Failure::new(FailureCode::BadArgument, "there is no record", help)
}

/// A thread waits for `config`, and nobody else does.
async fn read(node: &Node, which: Which) -> Result<Settings, Failure> {
    let sockets = node.sockets.clone();
    match spawn_blocking(move || Settings::read(&sockets, which)).await {
        Ok(settings) => settings.map_err(Failure::from),
        Err(error) => {
            let message = format!("nobody has read it: {error}");
            Err(Failure::new(FailureCode::Failed, message, "ask again"))
        }
    }
}

async fn apply(node: &Node) -> Result<Value, Failure> {
    let settings = read(node, Which::InForce).await?;
    if *node.settings.borrow() == settings {
        return Ok(Value::Null);
    }
    say!("the settings are others now");
    node.settings.send_replace(settings);
    let role = node.role.borrow().clone();
    match role {
        // It is in force when this is answered. What an owner has not stated yet is no fault of the settings.
        Role::Holder(holder) if matches!(node.place(), Some(Place::Holder(_))) => {
            match holder.renew().await {
                Ok(()) | Err(Unchanged::NotStated(_)) => Ok(Value::Null),
                Err(problem) => Err(failure(problem)),
            }
        }
        _ => Ok(Value::Null),
    }
}
