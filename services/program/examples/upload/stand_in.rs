//! Simulates PID 1 and identity, as the gate and `octetctl` use them.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{DESCRIBE, Failure, FailureCode, PublicKey, Request};
use octet_node::key::PrivateKey;
use serde_json::{Value, json};

use super::{Failed, GATE};

/// Simulates PID 1 at `socket`: its only verb is `describe`, which `octetctl` calls first.
pub fn init(socket: &Path) -> Result<(), Failed> {
    serve(socket, |peer, request| {
        let unknown = || Failure::new(FailureCode::NotFound, "there is no such verb", "");
        let answer = if request.verb == DESCRIBE { Ok(json!([])) } else { Err(unknown()) };
        peer.end(request.id, answer)?;
        Ok(())
    })
}

/// Simulates identity at `socket`: the node `owner` certifies any key. The certificate stays valid,
/// so the calls never end.
pub fn identity(socket: &Path, owner: PrivateKey) -> Result<(), Failed> {
    serve(socket, move |peer, request| {
        let key = request.args.get("key").and_then(Value::as_str).unwrap_or_default();
        let (node, unit, key) = (owner.public(), GATE.parse()?, key.parse::<PublicKey>()?);
        let statement = KeyStatement { node, unit, key, epoch: 1, issued: 1 };
        peer.item(request.id, json!(Certificate::sign(statement, &owner)?))?;
        // This blocks until the gate ends.
        peer.next_request()?;
        Ok(())
    })
}

/// Answers the first request of each connection with `answer`, one after the other.
fn serve(
    socket: &Path,
    answer: impl Fn(&mut Peer, &Request) -> Result<(), Failed> + Send + 'static,
) -> Result<(), Failed> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            if let Ok(Some(request)) = peer.next_request() {
                // The client may have disconnected.
                let _ = answer(&mut peer, &request);
            }
        }
    });
    Ok(())
}
