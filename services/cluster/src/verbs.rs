//! The verbs of this unit.

use octet_node::control::{ColumnKind, Failure, FailureCode, PLOT, Permission, UnitName, Verb};
use octet_node::map::MAP;
use octet_node::record::SeatRecord;
use octet_node::say;
use octet_node::serve::tasks::{Call, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{flag, nothing, option, optional_text, text};
use octet_node::settings::Which;
use octet_node::statement::SignedAppointment;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::coordinator::CoordinatorError;
use crate::node::{ClusterNode, NodeRole};
use crate::position::NodePosition;
use crate::settings::Settings;
use crate::status_row::{SeenByCoordinator, with_report};
use crate::traffic;

/// Each service may stay connected to follow the map.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 48, for_operators: 16, of_one: 4 };

pub fn verbs() -> Verbs<ClusterNode> {
    use Permission::{Operate, Own, Read};

    let board = || text("number", "The board's number").parse(number);
    let recorded =
        || option("record", "An owner's signed record of the board's key").parse(maybe_record);
    Verbs::default()
        .with(
            Verb::new("show", Read, "Shows each board: key, enrolment, connection, rejected keys"),
            optional_text("number", "One board in detail, as the board reports it")
                .parse(|board| board.map(number).transpose()),
            async |node: &ClusterNode, _, board| show(node, board),
        )
        .with(
            Verb::new(
                "status",
                Read,
                "Shows state, load and update of each node; for people `status --box`",
            )
            .columns(ColumnKind::Bytes, &["received", "sent", "memory", "total"])
            .columns(ColumnKind::Milliseconds, &["uptime"])
            .columns(ColumnKind::Drawing, &["drawing"]),
            flag(PLOT, "Draw the box as SVG instead"),
            async |node, _, plot| {
                let status = status(node).await?;
                Ok(if plot { json!({ "drawing": status }) } else { status })
            },
        )
        .with(
            Verb::new(MAP, Read, "Streams the membership map").internal(),
            nothing(),
            async |node, call, ()| Ok(follow(node, call).await),
        )
        .with(
            Verb::new("approve", Own, "Accepts the key that waits for approval at a board"),
            board().and(recorded()),
            async |node, _, (number, record)| {
                let key = coordinator(node)?.approve(number, record).await.map_err(failure)?;
                say!("board {number} is {key}: an owner has approved it");
                Ok(json!({ "board": number, "node": key }))
            },
        )
        .with(
            Verb::new(
                "replace",
                Own,
                "Accepts the next other key that appears at a board, in place of the present one",
            ),
            board().and(recorded()),
            async |node, _, (number, record)| {
                coordinator(node)?.replace(number, record).await.map_err(failure)?;
                say!("board {number}: an owner permits one other key in its place");
                Ok(json!({ "board": number, "next": "the next key that comes takes its place" }))
            },
        )
        .with(
            Verb::new(
                "record",
                Own,
                "Adds an owner's signed record of a board's key to the membership map",
            ),
            board().and(
                text("record", "The record, as `octetctl vouch` signs and sends it").parse(record),
            ),
            async |node, _, (number, record)| {
                let key = coordinator(node)?.record(number, record).await.map_err(failure)?;
                say!("board {number} is {key}: an owner has signed that");
                Ok(json!({ "board": number, "node": key }))
            },
        )
        .with(
            Verb::new(
                "revoke",
                Own,
                "Blocks a board's key permanently (board stolen or compromised)",
            ),
            board(),
            async |node, _, number| {
                let key = coordinator(node)?.revoke(number).await.map_err(failure)?;
                say!("board {number}: an owner has revoked its key {key}");
                let next = format!("`cluster replace {number}` lets another key take its place");
                Ok(json!({ "revoked": key, "next": next }))
            },
        )
        .with(
            Verb::new("drain", Operate, "Stops all scheduled units on a board, until `undrain`"),
            board(),
            async |node, _, number| drain(node, number, true).await,
        )
        .with(
            Verb::new("undrain", Operate, "Starts the scheduled units on a board again"),
            board(),
            async |node, _, number| drain(node, number, false).await,
        )
        .with(
            Verb::new(
                "adopt",
                Own,
                "Makes this node the coordinator of the box, by an owner's signed statement",
            ),
            text("statement", "The statement, as `octetctl sign-coordinator` prints it")
                .parse(statement),
            async |node, _, statement| {
                let epoch = coordinator(node)?.adopt(statement).await.map_err(failure)?;
                say!("an owner has stated that this node is the coordinator: epoch {epoch}");
                Ok(json!({ "epoch": epoch }))
            },
        )
        .with_settings(async |node| read(node, Which::Next).await.map(drop), apply)
}

/// Sends the map, now and whenever there is a newer one, until the client disconnects.
async fn follow(node: &ClusterNode, call: &mut Call<'_>) -> Value {
    let mut update = node.update.subscribe();
    loop {
        let item = json!(&*update.borrow_and_update());
        if call.peer.item(call.id, item).await.is_err() {
            return Value::Null;
        }
        tokio::select! {
            // The node lives longer than this connection.
            _ = update.changed() => {}
            () = call.peer.gone() => return Value::Null,
        }
    }
}

async fn drain(node: &ClusterNode, number: u8, drained: bool) -> Result<Value, Failure> {
    let key = coordinator(node)?.set_drained(number, drained).await.map_err(failure)?;
    say!("board {number} is {}drained", if drained { "" } else { "no longer " });
    let settings = node.settings.borrow();
    let placed = settings.boards.iter().filter(|board| board.number == number);
    let placed: Vec<_> = placed.flat_map(|board| &board.services).map(UnitName::as_str).collect();
    let done = drain_done(&placed, drained);
    Ok(json!({ "board": number, "node": key, "drained": drained, "done": done }))
}

/// The effect of draining or undraining a board on which the settings place the units `placed`.
fn drain_done(placed: &[&str], drained: bool) -> String {
    match (placed, drained) {
        ([], _) => {
            "nothing starts or stops: no [[board]] places units on it by `services`".to_owned()
        }
        (_, true) => format!("stops there, until `undrain`: {}", placed.join(", ")),
        (_, false) => format!("starts there: {}", placed.join(", ")),
    }
}

fn show(node: &ClusterNode, board: Option<u8>) -> Result<Value, Failure> {
    if let Some(number) = board {
        return coordinator(node)?.show_board(number).map_err(failure);
    }
    let role = node.role.borrow().clone();
    let mut shown = match role {
        NodeRole::Idle(why) => json!({ "role": why }),
        NodeRole::Coordinator(coordinator) => coordinator.show().map_err(failure)?,
        NodeRole::Member(member) => member.show(),
    };
    if let Some(trouble) = &node.trouble {
        shown["trouble"] = json!(trouble);
    }
    Ok(shown)
}

async fn status(node: &ClusterNode) -> Result<Value, Failure> {
    let role = node.role.borrow().clone();
    match role {
        NodeRole::Idle(why) => {
            let number = node.init_config.borrow().number;
            let row = json!({ "number": number, "state": "alone" });
            let seen = SeenByCoordinator::default();
            let own = with_report(row, &node.report.borrow(), &seen);
            Ok(json!({ "role": why, "number": number, "nodes": [own] }))
        }
        NodeRole::Coordinator(coordinator) => {
            let traffic = traffic::read_counters(node.sockets.clone()).await;
            coordinator.status(&traffic).map_err(failure)
        }
        NodeRole::Member(member) => Ok(member.status()),
    }
}

fn coordinator(
    node: &ClusterNode,
) -> Result<std::rc::Rc<crate::coordinator::Coordinator>, Failure> {
    match &*node.role.borrow() {
        NodeRole::Coordinator(coordinator) => Ok(coordinator.clone()),
        _ => {
            let help = "ask the coordinator: the router, or the board with the role `manager`";
            Err(Failure::new(FailureCode::Failed, "this node does not hold the map", help))
        }
    }
}

fn failure(problem: CoordinatorError) -> Failure {
    let code = match problem {
        CoordinatorError::Admin(_)
        | CoordinatorError::Refused(_)
        | CoordinatorError::NotAppointed(_)
        | CoordinatorError::Forbidden(_) => FailureCode::Denied,
        _ => FailureCode::Failed,
    };
    Failure::new(code, problem.to_string(), problem.help())
}

fn number(text: String) -> Result<u8, Failure> {
    text.parse().map_err(|_| {
        let message = format!("`{text}` is not a number of a board");
        Failure::new(FailureCode::BadArgument, message, "`cluster show` lists them")
    })
}

fn maybe_record(text: Option<String>) -> Result<Option<SeatRecord>, Failure> {
    text.map(record).transpose()
}

fn record(text: String) -> Result<SeatRecord, Failure> {
    SeatRecord::try_from(text).map_err(|error| {
        let help = "give it as an owner has signed it, or leave it out";
        Failure::new(FailureCode::BadArgument, error.to_string(), help)
    })
}

fn statement(text: String) -> Result<SignedAppointment, Failure> {
    SignedAppointment::try_from(text).map_err(|error| {
        let help = "give it as `octetctl sign-coordinator` has printed it";
        Failure::new(FailureCode::BadArgument, error.to_string(), help)
    })
}

/// A thread waits for `config`, so that no other task does.
async fn read(node: &ClusterNode, which: Which) -> Result<Settings, Failure> {
    let sockets = node.sockets.clone();
    match spawn_blocking(move || Settings::read(&sockets, which)).await {
        Ok(settings) => settings.map_err(Failure::from),
        Err(error) => {
            let message = format!("nobody has read it: {error}");
            Err(Failure::new(FailureCode::Failed, message, "ask again"))
        }
    }
}

async fn apply(node: &ClusterNode) -> Result<(), Failure> {
    let settings = read(node, Which::InForce).await?;
    if *node.settings.borrow() == settings {
        return Ok(());
    }
    say!("the settings have changed");
    node.settings.send_replace(settings);
    let role = node.role.borrow().clone();
    match role {
        // Answers once the settings are active. A missing appointment is not an error of the
        // settings.
        NodeRole::Coordinator(coordinator)
            if matches!(node.position(), Some(NodePosition::Coordinator(_))) =>
        {
            match coordinator.renew().await {
                Ok(()) | Err(CoordinatorError::NotAppointed(_)) => Ok(()),
                Err(problem) => Err(failure(problem)),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drain_comes_to_is_said() {
        let stopped = drain_done(&["cache", "web"], true);
        assert_eq!(stopped, "stops there, until `undrain`: cache, web");
        assert_eq!(drain_done(&["cache"], false), "starts there: cache");
        for drained in [true, false] {
            assert!(drain_done(&[], drained).starts_with("nothing starts or stops: no [[board]]"));
        }
    }
}
