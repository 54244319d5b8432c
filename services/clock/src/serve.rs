//! The verbs of clock.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use octet_node::Callers;
use octet_node::boot::uptime;
use octet_node::control::{Failure, FailureCode, Permission, Verb};
use octet_node::say;
use octet_node::serve::threads::{self, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{nothing, text};
use rustix::time::{ClockId, Timespec, clock_settime};
use serde_json::{Value, json};

use crate::bounds::TimeBounds;
use crate::discipline::{Adjustment, ClockOffset, Discipline};
use crate::machine::SetBackSender;
use crate::stepped::Stepped;
use crate::sys;

/// Nearly all callers are operators.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 4, of_one: 2 };

/// The state besides the kernel's clock.
#[derive(Debug)]
struct ClockState {
    discipline: Discipline,
    stepped: Stepped,
    set_back: SetBackSender,
    bounds: TimeBounds,
    last: Option<LastAdjustment>,
}

/// The last reported offset, and the result.
#[derive(Debug)]
struct LastAdjustment {
    /// The reported offset in nanoseconds; positive if the clock is behind.
    off: i64,
    by: String,
    done: String,
}

fn verbs() -> Verbs<Mutex<ClockState>> {
    use Permission::{Own, Read};

    Verbs::default()
        .with(
            Verb::new("show", Read, "Shows the time, its source, and the last correction"),
            nothing(),
            |state, _, ()| Ok(show(&lock(state))),
        )
        .with(
            Verb::new("off", Own, "Reports the clock's offset, as an NTP client has measured it")
                .internal(),
            text("nanoseconds", "Nanoseconds that the clock is behind; negative if it is ahead")
                .parse(nanoseconds)
                .and(text("by", "The time source")),
            |state, _, (behind, by)| apply_offset(&mut lock(state), behind, &by),
        )
        .with(
            Verb::new("set", Own, "Sets the clock forward"),
            text("time", "UTC, as 2026-01-31T12:00:00Z").parse(time),
            |state, _, time| set(&mut lock(state), time),
        )
        .with(
            Verb::new("set-back", Own, "Sets a clock back that is ahead; only in the current boot"),
            text("time", "UTC, as 2026-01-31T12:00:00Z")
                .parse(time)
                .and(text("boot", "The boot's ID, as `clock show` prints it")),
            |state, _, (time, boot)| set_back(&mut lock(state), time, &boot),
        )
}

fn lock(state: &Mutex<ClockState>) -> MutexGuard<'_, ClockState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(text: String) -> Result<i64, Failure> {
    text.parse().map_err(|_| {
        let message = format!("`{text}` is not a number of nanoseconds");
        Failure::new(FailureCode::BadArgument, message, "give a whole number")
    })
}

/// Parses a time since 1970.
fn time(text: String) -> Result<Duration, Failure> {
    let time = humantime::parse_rfc3339(&text).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).ok_or_else(|| {
        let help = "write a date (UTC) as 2026-01-31T12:00:00Z";
        Failure::new(FailureCode::BadArgument, format!("`{text}` is not a time"), help)
    })
}

/// Serves the connections to `listener`, forever.
pub fn serve(
    listener: &UnixListener,
    callers: &Callers,
    stepped: Stepped,
    asking: SetBackSender,
    bounds: TimeBounds,
) {
    let discipline = Discipline::new(stepped.is_stepped());
    let state =
        Mutex::new(ClockState { discipline, stepped, set_back: asking, bounds, last: None });
    let Err(error) = threads::serve(listener, callers, LIMITS, verbs(), state);
    say!("the control socket is closed: {error}");
}

fn show(state: &ClockState) -> Value {
    let last = state.last.as_ref();
    json!({
        "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        "offset_ns": last.map(|last| last.off),
        "by": last.map(|last| &last.by),
        "done": last.map(|last| &last.done),
        "boot": state.bounds.boot(),
    })
}

/// Handles the report of `by` that the clock is `nanos` nanoseconds behind.
fn apply_offset(state: &mut ClockState, nanos: i64, by: &str) -> Result<Value, Failure> {
    let far = Duration::from_nanos(nanos.unsigned_abs());
    let off = if nanos < 0 { ClockOffset::Ahead(far) } else { ClockOffset::Behind(far) };
    let decision = state.discipline.adjust(off, uptime());
    let who: String = by.chars().take(64).collect();
    let word = apply(state, decision).map_err(|error| failed(&error))?;
    let is_news = state.last.as_ref().is_none_or(|last| last.done != word);
    if is_news && !matches!(decision, Adjustment::Slew(_)) {
        say!("{who} says that the clock is off by {nanos} ns: {word}");
    }
    state.last = Some(LastAdjustment { off: nanos, by: who, done: word.clone() });
    Ok(json!({ "done": word }))
}

fn set(state: &mut ClockState, time: Duration) -> Result<Value, Failure> {
    match state.discipline.set_by_owner(time, now()) {
        Adjustment::Refuse(why) => {
            let help = "an owner sets back a clock that is ahead: `clock set-back`";
            Err(Failure::new(FailureCode::Denied, why, help))
        }
        decision => {
            apply(state, decision).map(|word| json!({ "done": word })).map_err(|it| failed(&it))
        }
    }
}

/// Handles the request of an owner who states that the clock is ahead.
fn set_back(state: &mut ClockState, time: Duration, boot: &str) -> Result<Value, Failure> {
    let denied = |message: String, help: &str| Failure::new(FailureCode::Denied, message, help);
    if boot != state.bounds.boot() {
        let message = format!("`{boot}` is not the boot of now");
        return Err(denied(message, "`clock show` names it"));
    }
    if time >= now() {
        return Err(denied("the clock shows an earlier time".to_owned(), "use `clock set`"));
    }
    let earliest = state.bounds.earliest();
    if time < earliest {
        let earliest = humantime::format_rfc3339_seconds(UNIX_EPOCH + earliest);
        let message = format!(
            "it is later than {earliest}: this image, or a key of the coordinator's, is of then"
        );
        return Err(denied(message, "state the time that it is now"));
    }
    // Time servers may no longer step it far ahead in this boot.
    state.stepped.record();
    state.discipline = Discipline::new(true);
    let failed = |why| {
        let message = format!("the clock cannot be set: {why}");
        Failure::new(FailureCode::Failed, message, "see the log")
    };
    state.set_back.set_back(time).map_err(failed)?;
    let next = "restart the node: what its units remember may have later times";
    Ok(json!({ "done": "set back", "next": next }))
}

/// Carries out the decision. Returns a description.
fn apply(state: &mut ClockState, decision: Adjustment) -> io::Result<String> {
    match decision {
        Adjustment::Step(by) => {
            state.stepped.record();
            let time = now() + by;
            let time = Timespec {
                tv_sec: i64::try_from(time.as_secs()).map_err(io::Error::other)?,
                tv_nsec: time.subsec_nanos().into(),
            };
            clock_settime(ClockId::Realtime, time)?;
            Ok(format!("set {} ahead", humantime::format_duration(by)))
        }
        Adjustment::Slew(off) => {
            let micros = |by: Duration| i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            let (micros, word) = match off {
                ClockOffset::Behind(by) => (micros(by), "runs a little faster"),
                ClockOffset::Ahead(by) => (-micros(by), "runs a little slower"),
            };
            sys::slew(micros)?;
            Ok(if micros == 0 { "is right" } else { word }.to_owned())
        }
        Adjustment::Refuse(why) => Ok(format!("nothing: {why}")),
    }
}

fn failed(error: &io::Error) -> Failure {
    let message = format!("the clock cannot be set: {error}");
    Failure::new(FailureCode::Failed, message, "see the log")
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::SystemClock;
    use crate::run::{ClockEvent, ClockMachine, Until};
    use std::thread::spawn;

    /// The state, with a clock that accepts every request to be set back: for `boot`, of an image
    /// that was built at `build`.
    fn state(boot: u128, build: Duration) -> ClockState {
        let (mut system, asking) = SystemClock::new(None).unwrap();
        spawn(move || {
            while let ClockEvent::SetBack(asked) = system.wait(Until::ClockSet) {
                asked.done.send(Ok(())).unwrap();
            }
        });
        let bounds = TimeBounds { build, boot, sockets: "/nowhere".into() };
        let (discipline, stepped) = (Discipline::new(false), Stepped::open(None, boot));
        ClockState { discipline, stepped, set_back: asking, bounds, last: None }
    }

    #[test]
    fn back_in_this_boot_and_not_before_the_image() {
        let build = now() - Duration::from_secs(86_400);
        let mut state = state(7, build);
        let this = show(&state)["boot"].as_str().unwrap().to_owned();
        let hour = Duration::from_secs(3600);
        let mut refused = |time, boot: &str, why| {
            let failure = set_back(&mut state, time, boot).unwrap_err();
            assert!(failure.message.contains(why), "{failure:?}");
        };
        refused(now() - hour, &format!("{:032x}", 8), "not the boot of now");
        refused(now() - hour, "", "not the boot of now");
        refused(now() + hour, &this, "an earlier time");
        refused(build - hour, &this, "of the coordinator's, is of then");
        let done = set_back(&mut state, now() - hour, &this).unwrap();
        assert_eq!(done["done"], "set back");
        // After that, time servers may no longer step it far ahead in this boot.
        let far = ClockOffset::Behind(Duration::from_secs(30 * 86_400));
        assert!(matches!(state.discipline.adjust(far, uptime()), Adjustment::Refuse(_)));
    }
}
