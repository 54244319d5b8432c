//! clock's own verbs, on its socket.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_node::control::{
    ArgKind, Arguments, Capability, DESCRIBE, Failure, FailureCode, Request, Verb,
};
use octet_node::say;
use octet_node::serve::threads::{self, Limits};
use octet_node::{Callers, PID_1, Peer};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::{Value, json};

use crate::discipline::{Decision, Discipline, Off};
use crate::stepped::Stepped;
use crate::sys;

/// Almost all that ask are operators.
const LIMITS: Limits = Limits { all: 8, for_operators: 4, of_one: 2 };

/// What is known beside the kernel's clock.
#[derive(Debug)]
struct Known {
    discipline: Discipline,
    stepped: Stepped,
    last: Option<Last>,
}

/// What became of somebody's word.
#[derive(Debug)]
struct Last {
    /// How far behind the clock was, in nanoseconds.
    off: i64,
    /// Whose word it was.
    by: String,
    /// In words.
    done: String,
}

fn verbs() -> Vec<Verb> {
    vec![
        Verb::new(DESCRIBE, Capability::Read, "Lists these verbs"),
        Verb::new(
            "show",
            Capability::Read,
            "Shows the time, and what became of others' word for it",
        ),
        Verb::new("off", Capability::Own, "Takes how far the clock is off, by somebody's word")
            .required("nanoseconds", ArgKind::Text, "How far behind; negative if it is ahead")
            .required("by", ArgKind::Text, "Whose word it is"),
        Verb::new("set", Capability::Own, "Sets the clock ahead; it never goes back").required(
            "time",
            ArgKind::Text,
            "UTC, as 2026-01-31T12:00:00Z",
        ),
    ]
}

/// Serves whoever connects, for ever.
pub fn serve(listener: &UnixListener, callers: &Callers, stepped: Stepped) {
    let discipline = Discipline::new(stepped.was());
    let known = Mutex::new(Known { discipline, stepped, last: None });
    let ended =
        threads::serve(listener, callers, LIMITS, PID_1, move |_: &mut Peer, _, request| {
            answer(&mut known.lock().unwrap_or_else(PoisonError::into_inner), request)
        });
    let Err(error) = ended;
    say!("nobody is answered any more: {error}");
}

fn answer(known: &mut Known, request: Request) -> Result<Value, Failure> {
    let verbs = verbs();
    let verb = Verb::find(&verbs, &request.verb)?;
    let args = verb.check(request.args)?;
    match verb.name.as_str() {
        "show" => Ok(show(known)),
        "off" => off(known, &args),
        "set" => set(known, &args),
        _ => Ok(json!(verbs)), // describe: the list has no other
    }
}

fn show(known: &Known) -> Value {
    let last = known.last.as_ref();
    json!({
        "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        "off by (nanoseconds)": last.map(|last| last.off),
        "by": last.map(|last| &last.by),
        "done": last.map(|last| &last.done),
    })
}

fn off(known: &mut Known, args: &Arguments) -> Result<Value, Failure> {
    let text = args.text("nanoseconds").unwrap_or_default();
    let Ok(nanos) = text.parse::<i64>() else {
        let message = format!("`{text}` is no number of nanoseconds");
        return Err(Failure::new(FailureCode::BadArgument, message, "give a whole number"));
    };
    let by = Duration::from_nanos(nanos.unsigned_abs());
    let off = if nanos < 0 { Off::Ahead(by) } else { Off::Behind(by) };
    let decision = known.discipline.decide(off, uptime());
    let who: String = args.text("by").unwrap_or_default().chars().take(64).collect();
    let word = carry_out(known, decision).map_err(|error| failed(&error))?;
    let is_news = known.last.as_ref().is_none_or(|last| last.done != word);
    if is_news && !matches!(decision, Decision::Slew(_)) {
        say!("{who} says that the clock is off by {nanos} ns: {word}");
    }
    known.last = Some(Last { off: nanos, by: who, done: word.clone() });
    Ok(json!({ "done": word }))
}

fn set(known: &mut Known, args: &Arguments) -> Result<Value, Failure> {
    let text = args.text("time").unwrap_or_default();
    let time = humantime::parse_rfc3339(text).ok();
    let Some(time) = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) else {
        let message = format!("`{text}` is no time");
        let help = "write a date (UTC) as 2026-01-31T12:00:00Z";
        return Err(Failure::new(FailureCode::BadArgument, message, help));
    };
    match known.discipline.told(time, now()) {
        Decision::Refuse(why) => {
            let help = "a box whose clock is too far ahead is reset (`identity reset`)";
            Err(Failure::new(FailureCode::Denied, why, help))
        }
        decision => {
            carry_out(known, decision).map(|word| json!({ "done": word })).map_err(|it| failed(&it))
        }
    }
}

/// Does it, and says so.
fn carry_out(known: &mut Known, decision: Decision) -> io::Result<String> {
    match decision {
        Decision::Step(by) => {
            known.stepped.note();
            let time = now() + by;
            let time = Timespec {
                tv_sec: i64::try_from(time.as_secs()).map_err(io::Error::other)?,
                tv_nsec: time.subsec_nanos().into(),
            };
            clock_settime(ClockId::Realtime, time)?;
            Ok(format!("set {} ahead", humantime::format_duration(by)))
        }
        Decision::Slew(off) => {
            let micros = |by: Duration| i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            let (micros, word) = match off {
                Off::Behind(by) => (micros(by), "runs a little faster"),
                Off::Ahead(by) => (-micros(by), "runs a little slower"),
            };
            sys::slew(micros)?;
            Ok(if micros == 0 { "is right" } else { word }.to_owned())
        }
        Decision::Refuse(why) => Ok(format!("nothing: {why}")),
    }
}

fn failed(error: &io::Error) -> Failure {
    let message = format!("the clock cannot be set: {error}");
    Failure::new(FailureCode::Failed, message, "see the log")
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn uptime() -> Duration {
    let uptime = clock_gettime(ClockId::Boottime);
    Duration::from_secs(u64::try_from(uptime.tv_sec).unwrap_or(0))
}
