//! End-to-end tests of the gate over loopback. Before each refused case there is an allowed one at
//! the same gate, which still answers after it.

#![cfg(test)]

mod floods;
mod host;
mod operator;
mod relay;
mod settings;
mod signed;
mod stand_in;

use std::sync::Arc;

use host::Host;
use octet_as_pid_1::{MemoryFile, Raw, wait_until};
use octet_node::control::file::{MAX_CHUNK, MAX_WANT, MAX_WANTS, Source};
use octet_node::control::{CallError, ClientMessage, FailureCode, Reply, ReplyBody, Request};
use octet_node::key::PrivateKey;
use octet_node::tls;
use operator::{denied, errors, failure, object, until_closed};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Map, Value, json};

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

#[test]
fn an_operator_reaches_every_unit() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let mut client = host.at().client(&anna).unwrap();
    assert_eq!(client.call("status", Map::new()).unwrap()["unit"], "init");
    let restarted = client.call("restart", object(json!({"unit": "cache"}))).unwrap();
    assert_eq!(restarted["args"]["unit"], "cache");
    assert_eq!(host.at().ask_unit(&anna, "cache", "purge").unwrap()["verb"], "purge");
    assert_eq!(client.describe().unwrap().len(), 6);
    let mut items = vec![];
    let watched = client.call_each("watch", Map::new(), |item| {
        items.push(item.clone());
        false
    });
    assert_eq!((watched.unwrap(), items), (Value::Null, vec!["as it is".into()]));
    let missing = failure(host.at().ask_unit(&anna, "nothing", "stats"));
    assert_eq!(missing.code, FailureCode::NotFound);
    let public = anna.public().to_string();
    for outcome in ["allowed", "done"] {
        let parts = ["anna", &public, "127.0.0.1:", "init restart {\"unit\":\"cache\"}", outcome];
        assert!(host.has_logged(&parts), "{}", host.log());
    }
    assert_eq!(host.units.count("init restart"), 1);
}

/// PID 1's verb `logs` is forwarded to logd. If a unit does not answer, the gate returns a failure.
#[test]
fn whoever_knows_is_asked() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let at = host.at();
    assert_eq!(at.ask(&anna, "logs", json!({})).unwrap()["unit"], "logd");
    assert_eq!((host.units.count("logd logs"), host.units.count("init logs")), (1, 0));
    let mut client = at.client(&anna).unwrap().with_unit(Some("cache".parse().unwrap()));
    let gone = failure(client.call("leave", Map::new()));
    assert_eq!(gone.message, "unit `cache` does not answer: it closed the connection");
    assert!(host.has_logged(&["cache leave {}", "failed: unit `cache` does not answer"]));
    client.call("stats", Map::new()).unwrap();
    // A unit that runs on other boards only has no socket here.
    let held = failure(at.ask_unit(&anna, "silent", "stats"));
    assert_eq!(
        (held.code, held.message.as_str()),
        (FailureCode::Denied, "unit `silent` is for other boards")
    );
}

/// However many requests operators leave open at a unit, other operators can call it, and some
/// connections are reserved for those with `own`.
#[test]
fn no_operator_keeps_others_from_a_unit() {
    let (anna, others) = (key(), [(); 4].map(|()| key()));
    let mut operators = vec![("anna", &anna, &["own"][..])];
    operators.extend(others.iter().map(|key| ("ben", key, &["read"][..])));
    let host = Host::new(&operators);
    let at = host.at();
    let watch = |key: &PrivateKey| {
        let mut client = at.client(key).unwrap().with_unit(Some("cache".parse().unwrap()));
        let watched = client.call_each("watch", Map::new(), |_| false);
        watched.map(|_| client).map_err(|error| failure(Err(error)).code)
    };
    let all =
        |key: &PrivateKey| -> Vec<_> { std::iter::from_fn(|| watch(key).ok()).take(100).collect() };
    let held: Vec<_> = others.iter().map(all).collect();
    assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 0, 0]);
    assert_eq!(watch(&others[3]).unwrap_err(), FailureCode::Busy);
    assert_eq!(all(&anna).len(), 3);
    // Other units are not affected, and a client that disconnects makes room, once the gate has
    // noticed it.
    at.ask_unit(&others[3], "logd", "logs").unwrap();
    drop(held);
    wait_until("there is room", || watch(&others[3]).is_ok());
}

#[test]
fn a_file_goes_through() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["update"])]);
    host.at().client(&anna).unwrap().describe().unwrap();
    let before = host.peak_memory();
    let bytes: Vec<u8> = (0..5_000_000u32).map(|number| (number % 253) as u8).collect();
    let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
    let mut client = host.at().client(&anna).unwrap().with_unit(Some("update".parse().unwrap()));
    let mut file = MemoryFile(bytes);
    let args = object(json!({ "file": file.describe() }));
    let end = client.call_with("install", args, Some(&mut file), |_| true).unwrap();
    assert_eq!(end, json!([5_000_000, sum]));
    // The gate does not buffer the file, although it is larger than all buffers on its path.
    let grown = host.peak_memory() - before;
    assert!(grown < 4 << 10, "{grown} KiB");
}

/// Makes `update` request `wants` parts of a file at once.
fn ahead(client: &mut Raw<operator::Stream>, id: u64, wants: usize) {
    let args = object(json!({ "file": {}, "wants": wants }));
    let (unit, verb) = ("update".parse().ok(), "ahead".to_owned());
    client.send(&ClientMessage::Request(Request { id, unit, verb, args, by: None }));
}

/// All parts in flight are received, although the unit does not read yet, and they exceed the
/// sockets' buffers. Other requests on the connection are answered meanwhile, and the gate buffers
/// no more than the parts in flight.
#[test]
fn wants_in_flight_are_answered_though_the_unit_is_busy() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["update"])]);
    let mut client = Raw::new(host.at().tls(&anna).unwrap().0);
    client.ask(1, "status", json!({}));
    assert_eq!(client.reply().id, 1);
    let before = host.peak_memory();
    ahead(&mut client, 2, MAX_WANTS);
    client.wants(MAX_WANTS);
    let length = MAX_WANTS as u64 * u64::from(MAX_WANT);
    for at in (0..length).step_by(MAX_CHUNK) {
        client.chunk(2, at, MAX_CHUNK);
    }
    client.ask(3, "status", json!({}));
    assert_eq!(client.reply().id, 3);
    let grown = host.peak_memory() - before;
    assert!(grown < 6 << 10, "{grown} KiB");
    host.units.read_on();
    // The last part had the full size, so the unit requests another one, which is empty.
    assert_eq!(client.wants(1), [length]);
    client.chunk(2, length, 0);
    assert_eq!(client.reply(), Reply { id: 2, body: ReplyBody::End(json!([length, 7 * length])) });
}

/// Pieces that the unit has not requested are not forwarded to it: the client receives a failure,
/// and the connection continues. A unit that requests too much results in a failure, too.
#[test]
fn pieces_out_of_order_are_refused() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["update"])]);
    host.units.read_on();
    let mut client = Raw::new(host.at().tls(&anna).unwrap().0);
    let part = u64::from(MAX_WANT);
    for (id, at, why) in [
        (1, part, "byte 65536 of the file came where byte 0 was next"),
        (2, 9, "byte 9 of the file came where byte 0 was next"),
    ] {
        ahead(&mut client, id, 2);
        assert_eq!(client.wants(2), [0, part]);
        client.chunk(id, at, 9);
        let failure = client.failure();
        assert_eq!((failure.code, failure.message.as_str()), (FailureCode::BadRequest, why));
        // This piece crosses the failure, and is ignored.
        client.chunk(id, at + 9, 9);
    }
    ahead(&mut client, 3, MAX_WANTS + 1);
    client.wants(MAX_WANTS);
    let failure = client.failure();
    assert!(failure.message.contains("more of the file than may be in flight"), "{failure}");
    client.ask(4, "status", json!({}));
    assert_eq!(client.reply().id, 4);
}

#[test]
fn who_is_no_operator_is_refused() {
    let (anna, ben) = (key(), key());
    let mut host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["read"])]);
    let at = host.at();
    at.ask(&anna, "status", json!({})).unwrap();
    at.ask(&ben, "status", json!({})).unwrap();
    let asked = host.units.total();

    // Refused: a client without a key.
    let mut config: ClientConfig =
        (*tls::client(&anna, tls::AlpnProtocol::Control).unwrap()).clone();
    config.client_auth_cert_resolver = Arc::new(NoKey);
    let connection = ClientConnection::new(Arc::new(config), tls::any_name()).unwrap();
    let mut keyless = StreamOwned::new(connection, at.tcp());
    assert!(until_closed(&mut keyless, b"").is_empty());
    assert!(host.has_logged(&["has shown no key"]), "{}", host.log());

    // Refused: a client without TLS.
    let mut plain = at.tcp();
    let from = plain.local_addr().unwrap().to_string();
    until_closed(&mut plain, b"OCT1\0\0\0\x02{}GET / HTTP/1.0\r\n\r\n");
    assert!(host.has_logged(&[&from, "has shown no key"]), "{}", host.log());

    // Refused: an unknown key.
    let stranger = key();
    denied(at.ask(&stranger, "status", json!({})), "is not an operator");
    let public = stranger.public().to_string();
    assert!(host.has_logged(&[&public, "refused", "is not an operator"]), "{}", host.log());

    // Refused: the key of a former operator.
    host.restart_for(&[("anna", &anna, &["own"])]);
    denied(host.at().ask(&ben, "status", json!({})), "is not an operator");
    assert_eq!(host.units.total(), asked);
    host.at().ask(&anna, "status", json!({})).unwrap();

    // Without any operator, nobody can connect.
    host.restart_for(&[]);
    denied(host.at().ask(&anna, "status", json!({})), "is not an operator");
    assert!(host.has_logged(&["names no operator"]));
    assert_eq!(host.units.total(), asked + 1);
}

#[derive(Debug)]
struct NoKey;

impl rustls::client::ResolvesClientCert for NoKey {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn each_may_what_it_may() {
    let (anna, ben) = (key(), key());
    let host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["read", "operate:cache"])]);
    let at = host.at();
    at.ask(&ben, "status", json!({})).unwrap();
    at.ask_unit(&ben, "cache", "purge").unwrap();
    at.ask(&anna, "restart", json!({"unit": "cache"})).unwrap();
    at.ask_unit(&anna, "update", "revoke").unwrap();
    let asked = host.units.total();
    denied(at.ask(&ben, "restart", json!({"unit": "cache"})), "needs `operate`");
    denied(at.ask_unit(&ben, "update", "revoke"), "needs `own`");
    denied(at.ask_unit(&ben, "update", "install"), "needs `update`");
    denied(at.ask_unit(&ben, "gate", "trust-time"), "needs `own`");
    assert_eq!(host.units.total(), asked);
    let parts = ["ben", "init restart {\"unit\":\"cache\"}", "refused", "needs `operate`"];
    assert!(host.has_logged(&parts), "{}", host.log());
    // A refusal does not end the connection.
    let mut client = at.client(&ben).unwrap();
    assert!(client.call("restart", object(json!({"unit": "cache"}))).is_err());
    client.call("status", Map::new()).unwrap();
}

/// The capabilities that PID 1's verbs need are queried for each call: during a trial, `operate`
/// does not suffice for a verb that would end it.
#[test]
fn what_ends_a_trial_needs_update() {
    let (anna, ben) = (key(), key());
    let host = Host::new(&[("anna", &anna, &["update"]), ("ben", &ben, &["operate"])]);
    let restart = |key: &PrivateKey| host.at().ask(key, "restart", json!({"unit": "cache"}));
    restart(&ben).unwrap();
    let trial = host.state().with_file_name(stand_in::TRIAL);
    std::fs::write(&trial, "").unwrap();
    denied(restart(&ben), "needs `update`");
    restart(&anna).unwrap();
    std::fs::remove_file(&trial).unwrap();
    denied(restart(&anna), "needs `operate`");
    restart(&ben).unwrap();
}

/// Keys without `own` cannot block owners, however many there are.
#[test]
fn owners_have_places_of_their_own() {
    let (anna, others) = (key(), [(); 5].map(|()| key()));
    let mut operators = vec![("anna", &anna, &["own"][..])];
    operators.extend(others.iter().map(|key| ("ben", key, &["read"][..])));
    let host = Host::new(&operators);
    let at = host.at();
    let all = |key: &PrivateKey| -> Vec<_> {
        let connect = || {
            let mut client = at.client(key).ok()?;
            client.call("status", Map::new()).ok().map(|_| client)
        };
        std::iter::from_fn(connect).take(100).collect()
    };
    let held: Vec<_> = others.iter().map(all).collect();
    assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 4, 0]);
    assert_eq!(all(&anna).len(), 8);
}

#[test]
fn nobody_writes_a_line_of_the_log_in_anothers_name() {
    let (anna, ben) = (key(), key());
    let host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["read"])]);
    let forged = format!("anna {} from 10.20.1.2:4040: init reboot {{}}: done", anna.public());
    let asked = host.at().ask(&ben, &format!("status\n{forged}\n"), json!({}));
    assert!(asked.is_err());
    assert!(host.has_logged(&["ben", &format!("\\n{forged}\\n")]), "{}", host.log());
    assert!(!host.log().lines().any(|line| line.starts_with("anna")), "{}", host.log());
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let at = host.at();
    at.ask(&anna, "status", json!({})).unwrap();
    let before = host.peak_memory();
    for (bytes, part) in [
        (&b"OCT1\x40\0\0\0xxxx"[..], "1073741824 bytes"),
        (b"OCT1\0\0\x40\x01xxxx", "16385 bytes"),
        (b"GET / HTTP/1.0\r\n\r\n", "does not start with OCT1"),
        (b"OCT1\0\0\0\x02{}", "missing field"),
        (b"OCT1\0\0\0\x01[", "EOF"),
    ] {
        let (mut stream, _) = at.tls(&anna).unwrap();
        let said = errors(&until_closed(&mut stream, bytes));
        assert!(said.len() == 1 && said[0].contains(part), "{said:?}");
        assert!(host.has_logged(&["anna", "refused", part]), "{}", host.log());
    }
    at.ask(&anna, "status", json!({})).unwrap();
    let grown = host.peak_memory() - before;
    assert!(grown < 4 << 10, "{grown} KiB");
}

/// When the gate's key is revoked, the gate uses a new one, and clients that have seen it reject
/// the old one.
#[test]
fn the_gates_own_key_can_be_revoked() {
    let anna = key();
    let mut host = Host::new(&[("anna", &anna, &["own"])]);
    let (_stream, first) = host.at().tls(&anna).unwrap();
    assert_eq!(first, 1);
    host.identity.revoke();
    let second = (0..).find_map(|_| {
        let (_, epoch) = host.from(2).tls(&anna).unwrap();
        (epoch > 1).then_some(epoch)
    });
    assert_eq!(second, Some(2));
    // The certificate is stored: the gate does not need identity to use it.
    host.kill();
    host.start();
    assert_eq!(host.at().tls(&anna).unwrap().1, 2);
}

/// A client that expects another box gets an error, and sends no request.
#[test]
fn another_box_is_told_apart() {
    let anna = key();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let mut at = host.at();
    at.ask(&anna, "status", json!({})).unwrap();
    at.node = key().public();
    let error = at.ask(&anna, "status", json!({})).unwrap_err().to_string();
    assert!(error.contains(&host.identity.node().to_string()), "{error}");
    assert_eq!(host.units.total(), 1);
}

#[test]
fn only_so_many_at_once() {
    let (anna, ben) = (key(), key());
    let host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["own"])]);
    let at = host.at();
    let connect = |key: &PrivateKey| {
        let mut client = at.client(key).unwrap();
        client.call("status", Map::new()).map(|_| client)
    };
    let mut annas: Vec<_> = (0..8).map(|_| connect(&anna).unwrap()).collect();
    let busy = |result: Result<_, CallError>| failure(result.map(|_| Value::Null)).code;
    assert_eq!(busy(connect(&anna)), FailureCode::Busy);
    let _bens: Vec<_> = (0..8).map(|_| connect(&ben).unwrap()).collect();
    assert_eq!(busy(connect(&ben)), FailureCode::Busy);
    // A client that disconnects makes room, once the gate has noticed it.
    drop(annas.pop());
    let connected = || host.ask("show", json!({})).unwrap()["operators"][0]["connected"].clone();
    wait_until("one has left", || connected() == 7);
    let _again = connect(&anna).unwrap();
    annas[0].call("status", Map::new()).unwrap();
}
