//! clock's own verbs, on its socket.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_node::Callers;
use octet_node::control::{Capability, Failure, FailureCode, Verb};
use octet_node::say;
use octet_node::serve::threads::{self, Limits, Verbs};
use octet_node::serve::verbs::{nothing, text};
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

fn verbs() -> Verbs<Mutex<Known>> {
    use Capability::{Own, Read};

    Verbs::default()
        .with(
            Verb::new("show", Read, "Shows the time, and what became of others' word for it"),
            nothing(),
            |known, _, ()| Ok(show(&lock(known))),
        )
        .with(
            Verb::new("off", Own, "Takes how far the clock is off, by somebody's word"),
            text("nanoseconds", "How far behind; negative if it is ahead")
                .parse(nanoseconds)
                .and(text("by", "Whose word it is")),
            |known, _, (behind, by)| off(&mut lock(known), behind, &by),
        )
        .with(
            Verb::new("set", Own, "Sets the clock ahead; it never goes back"),
            text("time", "UTC, as 2026-01-31T12:00:00Z").parse(time),
            |known, _, time| set(&mut lock(known), time),
        )
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(text: String) -> Result<i64, Failure> {
    text.parse().map_err(|_| {
        let message = format!("`{text}` is no number of nanoseconds");
        Failure::new(FailureCode::BadArgument, message, "give a whole number")
    })
}

/// Since 1970.
fn time(text: String) -> Result<Duration, Failure> {
    let time = humantime::parse_rfc3339(&text).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).ok_or_else(|| {
        let help = "write a date (UTC) as 2026-01-31T12:00:00Z";
        Failure::new(FailureCode::BadArgument, format!("`{text}` is no time"), help)
    })
}

/// Serves whoever connects, for ever.
pub fn serve(listener: &UnixListener, callers: &Callers, stepped: Stepped) {
    let discipline = Discipline::new(stepped.was());
    let known = Mutex::new(Known { discipline, stepped, last: None });
    let Err(error) = threads::serve(listener, callers, LIMITS, verbs(), known);
    say!("nobody is answered any more: {error}");
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

/// `by` says that the clock is `nanos` nanoseconds behind.
fn off(known: &mut Known, nanos: i64, by: &str) -> Result<Value, Failure> {
    let far = Duration::from_nanos(nanos.unsigned_abs());
    let off = if nanos < 0 { Off::Ahead(far) } else { Off::Behind(far) };
    let decision = known.discipline.decide(off, uptime());
    let who: String = by.chars().take(64).collect();
    let word = carry_out(known, decision).map_err(|error| failed(&error))?;
    let is_news = known.last.as_ref().is_none_or(|last| last.done != word);
    if is_news && !matches!(decision, Decision::Slew(_)) {
        say!("{who} says that the clock is off by {nanos} ns: {word}");
    }
    known.last = Some(Last { off: nanos, by: who, done: word.clone() });
    Ok(json!({ "done": word }))
}

fn set(known: &mut Known, time: Duration) -> Result<Value, Failure> {
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
