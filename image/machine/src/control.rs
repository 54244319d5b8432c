//! The control port, from the host's side.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use octet_control::file::Source;
use octet_control::{CallError, Client, UnitName};
use serde_json::{Map, Value};

/// How long an answer is waited for before it is asked for again.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often a connection may break before it is given up.
const MAX_RECONNECTS: u32 = 10;

/// Connects to a control port and sees that the appliance answers.
///
/// A serial port has no connections: that one client has gone and the next is there reaches the
/// guest beside the data, late or early. A request that falls into that moment may get no answer,
/// so `describe`, which changes nothing, is asked until it has one.
///
/// # Errors
/// Nobody listens there, something else answers, or nothing does before `deadline`.
pub fn connect(path: &Path, deadline: Instant) -> Result<Client<UnixStream>, CallError> {
    let mut breaks = 0;
    let mut client = Client::connect(path)?;
    loop {
        wait_until(client.stream(), deadline.min(Instant::now() + TIMEOUT))?;
        let Err(error) = client.describe() else {
            client.stream().set_read_timeout(None)?;
            client.stream().set_write_timeout(None)?;
            return Ok(client);
        };
        let broken = matches!(error, CallError::Closed | CallError::Io(_)) && !is_late(&error);
        if Instant::now() >= deadline || breaks == MAX_RECONNECTS || !(broken || is_late(&error)) {
            return Err(error);
        }
        if broken {
            breaks += 1;
            client = Client::connect(path)?;
        }
    }
}

/// The port's socket, which QEMU listens on. The port is a serial line: whoever is connected has
/// it for itself, the next one waits.
pub struct Control {
    path: PathBuf,
    /// Connected at the first call and kept, so that answers stay in step.
    connection: Mutex<Option<Client<UnixStream>>>,
}

impl Control {
    pub fn new(path: PathBuf) -> Self {
        Self { path, connection: Mutex::new(None) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the port go, so that someone else may use it.
    pub fn release(&self) {
        *self.lock() = None;
    }

    /// Asks `unit` (PID 1 if none is named), and hands each item of the answer to `item` until it
    /// returns `false`; sends it what it wants of `file`. Connecting may take until `deadline`, each
    /// piece of the answer at most `patience`.
    ///
    /// # Errors
    /// As `Client::call_with`; [`is_late`] tells that the time was over.
    pub fn call_each(
        &self,
        unit: Option<&UnitName>,
        (verb, args): (&str, Map<String, Value>),
        file: Option<&mut dyn Source>,
        deadline: Instant,
        patience: Duration,
        item: impl FnMut(&Value) -> bool,
    ) -> Result<Value, CallError> {
        let mut connection = self.lock();
        let client = match connection.take() {
            Some(client) => client,
            None => connect(&self.path, deadline)?,
        };
        let mut client = client.with_unit(unit.cloned());
        wait_until(client.stream(), deadline.min(Instant::now() + patience))?;
        let answer = client.call_with(verb, args, file, item);
        // What is late, or was given up, still comes, and is told apart by its number.
        let broken = matches!(&answer, Err(error) if !is_late(error))
            && !matches!(answer, Err(CallError::Failure(_)));
        if !broken {
            *connection = Some(client);
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Option<Client<UnixStream>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call ended because its time was over.
pub fn is_late(error: &CallError) -> bool {
    let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    matches!(error, CallError::Io(error) if late.contains(&error.kind()))
}

fn wait_until(socket: &UnixStream, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    /// A port that breaks the first connection and swallows the first request on the second.
    #[test]
    fn asks_until_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        let listener = UnixListener::bind(&path).unwrap();
        let port = std::thread::spawn(move || {
            drop(listener.accept().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            let mut swallowed = [0; 1024];
            assert!(stream.read(&mut swallowed).unwrap() > 0);
            let mut decoder = octet_control::Decoder::default();
            let request = loop {
                let count = stream.read(&mut swallowed).unwrap();
                decoder.push(&swallowed[..count]);
                if let Some(frame) = decoder.next_payload().unwrap() {
                    break serde_json::from_slice::<Value>(&frame).unwrap();
                }
            };
            let answer = serde_json::json!({ "id": request["id"], "end": [] });
            let mut frame = Vec::new();
            octet_control::encode(answer.to_string().as_bytes(), &mut frame).unwrap();
            stream.write_all(&frame).unwrap();
        });
        connect(&path, Instant::now() + Duration::from_secs(60)).unwrap();
        port.join().unwrap();
    }

    #[test]
    fn gives_up_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        let _listener = UnixListener::bind(&path).unwrap();
        let error = connect(&path, Instant::now() + Duration::from_millis(10)).unwrap_err();
        assert!(is_late(&error), "{error}");
    }
}
