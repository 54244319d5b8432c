//! Tries to access other units' keys and to impersonate other callers as a service's user. It
//! prints a line per try.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use octet_guests::frames::frame;
use octet_node::control::{By, PublicKey};
use serde_json::json;

fn main() {
    for path in ["/data/identity/node.key", "/data/gate/key"] {
        tell(
            path,
            fs::read_to_string(path)
                .map(|key| if key.starts_with("octet-key-1 ") { "read".to_owned() } else { key }),
        );
    }
    let show = r#"{"id":1,"verb":"show"}"#;
    let status = r#"{"id":1,"verb":"status"}"#;
    let by = By::Operator(PublicKey::new([3; 32]));
    let for_operator = json!({ "id": 1, "verb": "show", "by": by }).to_string();
    for (name, socket, request) in [
        ("ask the gate", "gate", show),
        ("ask identity", "identity", show),
        ("ask PID 1", "init", status),
        ("ask identity for an operator", "identity", &for_operator),
    ] {
        tell(name, ask(socket, request));
    }
}

fn tell(name: &str, outcome: std::io::Result<String>) {
    match outcome {
        Ok(what) => println!("{name}: {what}"),
        Err(error) => println!("{name}: {:?}", error.kind()),
    }
}

/// The kind of the answer: `end`, an error code, or empty if the connection was closed.
fn ask(unit: &str, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(format!("/run/octet/{unit}.sock"))?;
    // A refused client may find the connection closed already.
    let sent = stream.write_all(&frame(request.as_bytes()));
    let sent = sent.and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        return Ok("turned away".into());
    }
    sent.and(read.map(drop))?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(match answer.split_once(r#""code":""#) {
        Some((_, rest)) => rest.split('"').next().unwrap_or_default().to_owned(),
        None if answer.contains(r#""end":"#) => "answered".into(),
        None => answer,
    })
}
