//! Attempts of a compromised service, from inside and as a service's user: it prints a line with
//! the result of each. The first one of each pair is permitted, and shows that the attempt itself
//! works.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use octet_guests::frames::frame;
use octet_node::control::{CallError, Client};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SOCKET: &str = "/run/octet/init.sock";
const GATE: &str = "/run/octet/gate.sock";

fn main() {
    for (name, request) in [
        ("look", r#"{"id":1,"verb":"status"}"#),
        ("power off", r#"{"id":2,"verb":"poweroff"}"#),
        ("reboot", r#"{"id":3,"verb":"reboot"}"#),
        ("kill a unit", r#"{"id":4,"verb":"signal","args":{"unit":"console","signal":"KILL"}}"#),
    ] {
        tell(name, ask(request));
    }
    let gate = [
        ("run what nobody has signed", "run", json!({ "command": "AAAA" })),
        ("run nothing", "verbs", json!({})),
        ("state the time", "trust-time", json!({ "time": "2030-01-01T00:00:00Z" })),
    ];
    for (name, verb, args) in gate {
        println!("{name}: {}", ask_gate(verb, &args));
    }
    for (name, path) in [
        ("write to /tmp", "/tmp/probe"),
        ("change a unit", "/usr/lib/octet/units.json"),
        ("change a program", "/usr/lib/octet/console"),
        ("write to /data", "/data/probe"),
        ("write to /run", "/run/octet/probe"),
    ] {
        let written = fs::OpenOptions::new().append(true).create(true).open(path);
        tell(name, written.map(|_| "done".to_owned()));
    }
    tell("read its own memory map", fs::read_to_string("/proc/self/maps").map(|_| "done".into()));
    tell("read that of PID 1", fs::read_to_string("/proc/1/maps").map(|_| "done".into()));
    for (name, pid) in [("signal itself", Pid::from_raw(0)), ("signal PID 1", Pid::from_raw(1))] {
        let pid = pid.unwrap_or_else(rustix::process::getpid);
        let sent = kill_process(pid, Signal::CONT).map(|()| "done".to_owned());
        tell(name, sent.map_err(Into::into));
    }
    let own = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = own.lines().find(|line| line.starts_with("NoNewPrivs")).unwrap_or_default();
    tell("gain privileges by exec", Ok(line.split_whitespace().collect::<Vec<_>>().join(" ")));
}

fn ask_gate(verb: &str, args: &Value) -> String {
    let args = args.as_object().cloned().unwrap_or_default();
    match Client::connect(Path::new(GATE)).and_then(|mut gate| gate.call(verb, args)) {
        Ok(_) => "done".into(),
        Err(CallError::Failure(failure)) => failure.message,
        Err(error) => error.to_string(),
    }
}

fn tell(name: &str, outcome: std::io::Result<String>) {
    match outcome {
        Ok(what) => println!("{name}: {what}"),
        Err(error) => println!("{name}: {:?}", error.kind()),
    }
}

/// The kind of PID 1's answer: `end`, or an error code.
fn ask(request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.write_all(&frame(request.as_bytes()))?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(match answer.split_once(r#""code":""#) {
        Some((_, rest)) => rest.split('"').next().unwrap_or_default().to_owned(),
        None if answer.contains(r#""end":"#) => "done".into(),
        None => answer,
    })
}
