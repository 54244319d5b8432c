//! Clients that are slow, many, or not permitted.

use std::fs;
use std::io::Write;

use octet_as_pid_1::{connect_as, open_to_all, unprivileged, wait_until};
use octet_node::control::{CallError, Client, FailureCode};
use serde_json::{Value, json};

use crate::logd::{Host, Logd, object, texts};

#[test]
fn a_slow_follower_is_told() {
    let mut host = Host::new(&["one"]);
    host.options = vec![
        "--memory",
        "100000",
        "--rate",
        "100000000",
        "--burst",
        "100000000",
        "--lines",
        "1000000",
        "--line-burst",
        "1000000",
    ];
    fs::write(host.state(), "not a folder").unwrap();
    let logd = host.start();
    host.say("one", "begin\n");
    logd.follow_until("one", "begin");
    let mut slow = logd.connect();
    let mut writer = host.writer("one");
    let mut seen: Vec<String> = vec![];
    let args = object(json!({"unit": "one", "follow": true, "fields": true}));
    let each = |item: &Value| {
        if seen.is_empty() {
            // This exceeds the sockets' buffers and logd's memory, and is written while the client
            // does not read.
            let line = "x".repeat(200) + "\n";
            for _ in 0..200 {
                writer.write_all(line.repeat(200).as_bytes()).unwrap();
            }
            writer.write_all(b"end\n").unwrap();
        }
        seen.extend(texts(item));
        seen.last().is_none_or(|last| last != "end")
    };
    slow.call_each("logs", args, each).unwrap();
    let missing: u64 = seen
        .iter()
        .filter_map(|text| text.strip_prefix('-'))
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    let lines = seen.iter().filter(|text| text.starts_with('x')).count() as u64;
    assert!(missing > 0, "{} seen", seen.len());
    // Some of logd's own lines may be among the missing.
    assert!((40_000..40_100).contains(&(missing + lines)), "{missing} + {lines}");
}

#[test]
fn many_clients_are_turned_away_not_kept_waiting() {
    let host = Host::new(&[]);
    let logd = host.start();
    // Root may use all connections, another user only some; the tests run as either.
    let places = if rustix::process::geteuid().is_root() { 64 } else { 16 };
    let mut clients: Vec<_> = (0..places).map(|_| logd.connect()).collect();
    for client in &mut clients {
        client.describe().unwrap();
    }
    assert!(logd.connect().describe().is_err());
    let mut other = clients.pop().unwrap();
    other.describe().unwrap();
    drop(clients);
    other.call("stats", object(json!({}))).unwrap();
    // A child process of another test holds copies of the connections until its exec.
    wait_until("there is room again", || logd.connect().describe().is_ok());
}

#[test]
fn only_callers_are_answered() {
    let mut host = Host::new(&["one"]);
    let user = unprivileged();
    let denied = |answer: Result<Value, CallError>| match answer {
        Err(CallError::Failure(failure)) => assert_eq!(failure.code, FailureCode::Denied),
        other => panic!("{other:?}"),
    };
    open_to_all(&host.folder.path().join("logd.sock")).unwrap();
    let call = |logd: &Logd, verb: &'static str| {
        let stream = connect_as(user, logd.socket()).unwrap();
        Client::new(stream).call(verb, serde_json::Map::new())
    };
    host.callers = format!("{user}=logs;999999=stats");
    let logd = host.start();
    host.say("one", "hello\n");
    logd.follow_until("one", "hello");
    call(&logd, "logs").unwrap();
    call(&logd, "describe").unwrap();
    denied(call(&logd, "stats"));
    denied(call(&logd, "none"));
    assert!(logd.stop().success());
    // Users that are not listed are disconnected, as are all users if the list is invalid.
    for callers in ["999999=logs,stats".to_owned(), format!("{user}=logs;{user}")] {
        host.callers = callers;
        let logd = host.start();
        for verb in ["logs", "describe", "stats"] {
            let turned_away = call(&logd, verb);
            assert!(!matches!(&turned_away, Ok(_) | Err(CallError::Failure(_))), "{turned_away:?}");
        }
    }
}
