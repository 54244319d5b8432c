//! A minimal daemon with a control socket and a thread per connection.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use octet_node::control::{
    ClientMessage, Connection, Failure, FailureCode, Reply, ReplyBody, Request,
};
use octet_node::{Callers, inherited, peer_uid};
use serde_json::Value;

pub type Answer = Result<Value, Failure>;

/// Sends the notification `text` to PID 1 (`sd_notify(3)`).
pub fn notify(text: &str) -> std::io::Result<()> {
    let socket = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    UnixDatagram::unbound()?.send_to(text.as_bytes(), socket).map(drop)
}

/// Serves the socket that PID 1 has passed, forever. `answer` answers requests, one at a time.
/// `begin` is called once the socket is there.
pub fn serve(
    begin: impl FnOnce() -> std::io::Result<()>,
    answer: impl FnMut(&Request) -> Answer + Send + 'static,
) -> std::io::Result<()> {
    let (_, socket) = inherited().pop().ok_or(std::io::ErrorKind::NotConnected)?;
    let listener = UnixListener::from(socket);
    let (answer, callers) = (Arc::new(Mutex::new(answer)), Arc::new(Callers::from_environment()));
    begin()?;
    for stream in listener.incoming() {
        let (stream, answer, callers) = (stream?, Arc::clone(&answer), Arc::clone(&callers));
        thread::Builder::new().spawn(move || {
            let caller = peer_uid(&stream)?;
            converse(stream, |request| {
                let (asker, _) = callers.effective_caller(caller, request.by);
                callers.check(asker, &request.verb)?;
                answer.lock().unwrap_or_else(PoisonError::into_inner)(request)
            })
        })?;
    }
    Ok(())
}

fn converse(
    mut stream: UnixStream,
    mut answer: impl FnMut(&Request) -> Answer,
) -> std::io::Result<()> {
    let mut connection = Connection::default();
    let mut buffer = [0; 4096];
    while let count @ 1.. = stream.read(&mut buffer)? {
        for message in connection.received(&buffer[..count], true) {
            let ClientMessage::Request(request) = message else { continue };
            let body = answer(&request).map_or_else(ReplyBody::Error, ReplyBody::End);
            if connection.reply(&Reply { id: request.id, body }).is_err() {
                return Ok(());
            }
        }
        while connection.has_pending() {
            let sent = stream.write(connection.pending())?;
            connection.sent(sent);
        }
    }
    Ok(())
}

/// The failure of an unknown verb.
pub fn unknown(what: &str) -> Failure {
    Failure::new(FailureCode::NotFound, format!("there is no `{what}`"), "read the program")
}
