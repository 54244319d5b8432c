//! Answers to requests.

use octet_node::control::{Arguments, Failure, FailureCode, LOGS, Request, Verb};
use serde_json::{Value, json};

use crate::clock::BothClocks;
use crate::read::{Cursor, LogQuery};
use crate::tail::Tail;

use super::client::Reading;
use super::show;
use super::verbs::verbs;

/// The number of lines if the request has neither a number nor a start.
const LINES: u64 = 100;

/// The answer to a request.
pub enum LogReply {
    Now(Value),
    /// The entries are read and sent in batches.
    Reading(Box<Reading>),
}

/// The answer to `request`; `busy` if this client is still being answered.
pub fn answer(tail: &Tail, request: Request, busy: bool) -> Result<LogReply, Failure> {
    let verbs = verbs();
    let verb = Verb::find(&verbs, &request.verb)?;
    let args = verb.check(request.args)?;
    Ok(match verb.name.as_str() {
        LOGS if busy => {
            return Err(Failure::new(
                FailureCode::Busy,
                "this connection is still being answered",
                "wait for the end of the answer, or open another connection",
            ));
        }
        LOGS => LogReply::Reading(Box::new(logs(tail, &args, request.id)?)),
        "stats" => LogReply::Now(stats(tail)),
        _ => LogReply::Now(json!(verbs)), // `describe` is the only other one
    })
}

fn logs(tail: &Tail, args: &Arguments, id: u64) -> Result<Reading, Failure> {
    let since = args.text("since").map(|text| {
        show::since(text, BothClocks::read().wall).ok_or_else(|| {
            Failure::new(
                FailureCode::BadArgument,
                format!("`{text}` is not a time"),
                "write `10m`, `2h`, or a date (UTC) as 2026-01-31T12:00:00Z",
            )
        })
    });
    let since = since.transpose()?;
    let state = tail.lock();
    // Entries in memory do not record their boot, but all are of this one; blocks on disk do.
    let boot = args.flag("boot").then_some(state.boot);
    let all = since.is_some() || boot.is_some();
    let lines = args.integer("lines").or((!all).then_some(LINES));
    let wanted = LogQuery {
        unit: args.text("unit").map(str::to_owned),
        since: since.unwrap_or(0),
        boot,
        last: lines.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
        follow: args.flag("follow"),
    };
    let cursor = Cursor::new(wanted, state.ring.next_sequence(), state.generation);
    let fields = args.flag("fields");
    Ok(Reading { id, cursor: Some(cursor), at_end: None, fields, found_any: false })
}

fn stats(tail: &Tail) -> Value {
    let state = tail.lock();
    let (next, waiting) = (state.ring.next_sequence(), state.ring.waiting_bytes());
    let mut report = state.stats.report(&state.segments, next, waiting);
    report["trouble"] = json!(state.trouble);
    report
}

/// The error if an answer has no line because there is no unit of that name.
pub fn no_lines(tail: &Tail, unit: Option<&str>) -> Option<Failure> {
    let (state, unit) = (tail.lock(), unit?);
    (!state.stats.has_unit(unit)).then(|| {
        let known: Vec<&str> = state.stats.names().collect();
        Failure::new(
            FailureCode::NotFound,
            format!("nothing is kept of a unit `{unit}`"),
            format!("the units are: {}", known.join(", ")),
        )
    })
}
