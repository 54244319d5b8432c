//! PID 1 and identity, as far as the gate and `octetctl` see them.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{DESCRIBE, Failure, FailureCode, PublicKey, Request};
use octet_node::key::PrivateKey;
use serde_json::{Value, json};

use super::{Failed, GATE};

/// Plays PID 1 at `socket`: it has no verbs but `describe`, which `octetctl` asks first.
pub fn init(socket: &Path) -> Result<(), Failed> {
    serve(socket, |peer, request| {
        let unknown = || Failure::new(FailureCode::NotFound, "there is no such verb", "");
        let answer = if request.verb == DESCRIBE { Ok(json!([])) } else { Err(unknown()) };
        peer.end(request.id, answer)?;
        Ok(())
    })
}

/// Plays identity at `socket`: the node `owner` certifies whatever key it is asked about. That holds for good, so no
/// answer ends.
pub fn identity(socket: &Path, owner: PrivateKey) -> Result<(), Failed> {
    serve(socket, move |peer, request| {
        let key = request.args.get("key").and_then(Value::as_str).unwrap_or_default();
        let (node, unit, key) = (owner.public(), GATE.parse()?, key.parse::<PublicKey>()?);
        let statement = KeyStatement { node, unit, key, epoch: 1, issued: 1 };
        peer.item(request.id, json!(Certificate::sign(statement, &owner)?))?;
        // Until the gate ends.
        peer.next_request()?;
        Ok(())
    })
}

/// Has `answer` answer the first request of whoever connects, one after the other.
fn serve(
    socket: &Path,
    answer: impl Fn(&mut Peer, &Request) -> Result<(), Failed> + Send + 'static,
) -> Result<(), Failed> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            if let Ok(Some(request)) = peer.next_request() {
                // Whoever asked may have gone.
                let _ = answer(&mut peer, &request);
            }
        }
    });
    Ok(())
}
