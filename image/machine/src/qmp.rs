//! QEMU's own control socket (QEMU Machine Protocol, `docs/interop/qmp-spec`).

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Why QEMU ended the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// The guest itself asked for it.
    pub guest: bool,
    /// `guest-shutdown`, `guest-reset`, `guest-panic`, `host-qmp-quit`, …
    pub reason: String,
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The guest has started again within the same QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// The guest itself has done it, and not somebody by QMP.
    pub guest: bool,
    /// When, as QEMU says it: since 1970.
    pub at: Duration,
}

/// A connection to QEMU, read by a thread of its own.
pub struct Qmp {
    writer: Mutex<UnixStream>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    last_id: u64,
    answers: HashMap<u64, Value>,
    events: Vec<String>,
    resets: Vec<Reset>,
    shutdown: Option<Shutdown>,
    closed: bool,
}

impl Qmp {
    /// Takes the connection that QEMU has made, and leaves its negotiation mode.
    ///
    /// # Errors
    /// The connection breaks, or there is no answer before `deadline`.
    pub fn start(stream: UnixStream, deadline: Instant) -> Result<Self, String> {
        let reader = stream.try_clone().map_err(|error| error.to_string())?;
        let shared = Arc::<Shared>::default();
        let qmp = Self { writer: Mutex::new(stream), shared: Arc::clone(&shared) };
        std::thread::spawn(move || shared.read(reader));
        qmp.execute("qmp_capabilities", json!({}), deadline)?;
        Ok(qmp)
    }

    /// Runs one command and returns its answer.
    ///
    /// # Errors
    /// QEMU refused it or closed the connection, or there is no answer before `deadline`.
    pub fn execute(&self, command: &str, args: Value, deadline: Instant) -> Result<Value, String> {
        let id = {
            let mut state = self.shared.lock();
            state.last_id += 1;
            state.last_id
        };
        let request = json!({"execute": command, "arguments": args, "id": id});
        let sent = {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(writer, "{request}")
        };
        sent.map_err(|error: io::Error| error.to_string())?;
        let mut state = self.shared.lock();
        loop {
            if let Some(mut answer) = state.answers.remove(&id) {
                return match answer.get_mut("error") {
                    Some(error) => Err(error["desc"].as_str().unwrap_or("refused").to_owned()),
                    None => Ok(answer["return"].take()),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed {
                return Err("QEMU closed the connection".into());
            }
            if left.is_zero() {
                return Err("no answer in time".into());
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The names of all events so far.
    pub fn events(&self) -> Vec<String> {
        self.shared.lock().events.clone()
    }

    /// The reset that comes after the first `seen`; `None` if QEMU ends before.
    pub fn wait_reset(&self, seen: usize) -> Option<Reset> {
        let state = self.shared.lock();
        let awaited = |state: &mut State| state.resets.len() <= seen && !state.closed;
        let state = self.shared.changed.wait_while(state, awaited);
        state.unwrap_or_else(PoisonError::into_inner).resets.get(seen).copied()
    }

    /// Why the guest ended, once QEMU has closed the connection; `None` if it never said.
    pub fn shutdown(&self, deadline: Instant) -> Option<Shutdown> {
        let left = deadline.saturating_duration_since(Instant::now());
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, left, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.shutdown.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stream: UnixStream) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else {
                break; // not QMP
            };
            let mut state = self.lock();
            if let Some(id) = message["id"].as_u64() {
                state.answers.insert(id, message);
            } else if let Some(event) = message["event"].as_str() {
                state.events.push(event.to_owned());
                let data = &message["data"];
                let guest = data["guest"].as_bool().unwrap_or(false);
                if event == "RESET" {
                    let time = |key: &str| message["timestamp"][key].as_u64().unwrap_or_default();
                    let at = Duration::from_secs(time("seconds"))
                        + Duration::from_micros(time("microseconds"));
                    state.resets.push(Reset { guest, at });
                }
                if event == "SHUTDOWN" {
                    let reason = data["reason"].as_str().unwrap_or("unknown").to_owned();
                    state.shutdown = Some(Shutdown { guest, reason });
                }
            }
            self.changed.notify_all();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_command() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let qemu = std::thread::spawn(move || {
            let mut writer = theirs.try_clone().unwrap();
            writeln!(writer, r#"{{"QMP": {{"version": {{}}}}}}"#).unwrap();
            for line in BufReader::new(theirs).lines().take(3) {
                let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
                let answer = if request["execute"] == "bad" {
                    json!({"id": request["id"], "error": {"class": "x", "desc": "no such thing"}})
                } else {
                    json!({"id": request["id"], "return": request["execute"]})
                };
                writeln!(writer, "{}", json!({"event": "RESUME"})).unwrap();
                writeln!(writer, "{answer}").unwrap();
            }
            let data = json!({"guest": true, "reason": "guest-reset"});
            let at = json!({"seconds": 7, "microseconds": 5});
            let reset = json!({"event": "RESET", "data": data, "timestamp": at});
            writeln!(writer, "{reset}").unwrap();
            writeln!(writer, "{}", json!({"event": "SHUTDOWN", "data": data})).unwrap();
        });
        let deadline = Instant::now() + Duration::from_secs(180);
        let qmp = Qmp::start(ours, deadline).unwrap();
        assert_eq!(qmp.execute("query-status", json!({}), deadline).unwrap(), "query-status");
        assert_eq!(qmp.execute("bad", json!({}), deadline).unwrap_err(), "no such thing");
        qemu.join().unwrap();
        let end = Shutdown { guest: true, reason: "guest-reset".into() };
        assert_eq!(qmp.shutdown(deadline), Some(end));
        assert_eq!(qmp.events(), ["RESUME", "RESUME", "RESUME", "RESET", "SHUTDOWN"]);
        assert_eq!(
            qmp.wait_reset(0),
            Some(Reset { guest: true, at: Duration::from_micros(7_000_005) })
        );
        assert_eq!(qmp.wait_reset(1), None);
    }
}
