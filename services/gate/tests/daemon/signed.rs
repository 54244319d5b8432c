//! Signed commands that others deliver.

use octet_as_pid_1::wait_until;
use octet_node::command::{Command, CommandBody};
use octet_node::control::PublicKey;
use octet_node::key::{PrivateKey, random};
use serde_json::{Map, json};

use crate::host::Host;
use crate::operator::denied;

/// 2030-01-01, which is later than this machine's clock.
const NOW: u64 = 1_893_456_000;

fn order(operator: &PrivateKey, target: PublicKey, unit: &str, verb: &str) -> CommandBody {
    CommandBody {
        target,
        operator: operator.public(),
        id: random().unwrap(),
        expires: NOW + 80_000,
        unit: unit.parse().unwrap(),
        verb: verb.into(),
        args: Map::new(),
    }
}

fn sign(order: &CommandBody, operator: &PrivateKey) -> Command {
    Command::sign(order.clone(), operator).unwrap()
}

fn refused(host: &Host, command: &Command, part: &str) {
    let asked = host.units.total();
    let problem = host.bring(command).unwrap_err();
    assert!(problem.contains(part), "{problem}");
    assert!(host.has_logged(&["a signed command", "refused", part]), "{}", host.log());
    assert_eq!(host.units.total(), asked);
}

#[test]
fn a_signed_command_is_run_at_most_once() {
    let (anna, ben, stranger) = (
        PrivateKey::generate().unwrap(),
        PrivateKey::generate().unwrap(),
        PrivateKey::generate().unwrap(),
    );
    let mut host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["operate:cache"])]);
    let node = host.identity.node();
    let good = order(&anna, node, "init", "status");

    // No command runs until an owner has stated the time.
    refused(&host, &sign(&good, &anna), "the time is not trusted");
    let time = json!({"time": "2030-01-01T00:00:00Z"});
    let state = |key: &PrivateKey| {
        let client = host.at().client(key).unwrap();
        client
            .with_unit(Some("gate".parse().unwrap()))
            .call("trust-time", time.as_object().unwrap().clone())
    };
    denied(state(&ben), "needs `own`");
    state(&anna).unwrap();

    assert_eq!(host.bring(&sign(&good, &anna)).unwrap()["verb"], "status");
    assert_eq!(host.units.count("init status"), 1);
    let public = anna.public().to_string();
    assert!(host.has_logged(&["anna", &public, "init status", "allowed, signed"]));
    assert!(host.has_logged(&["anna", &public, "init status", "done"]));

    // The second run is refused, also after the gate was killed.
    refused(&host, &sign(&good, &anna), "run before");
    host.kill();
    host.start();
    refused(&host, &sign(&good, &anna), "run before");

    // Ben's capabilities apply to his signed commands.
    host.bring(&sign(&order(&ben, node, "cache", "purge"), &ben)).unwrap();
    refused(&host, &sign(&order(&ben, node, "cache", "stats"), &ben), "needs `read`");
    refused(&host, &sign(&order(&ben, node, "init", "status"), &ben), "needs `read`");

    // Refused: for another box, of an unknown key, expired, too far ahead, with a file, and nested.
    let other = PrivateKey::generate().unwrap().public();
    refused(&host, &sign(&order(&anna, other, "init", "status"), &anna), "the command is for");
    refused(
        &host,
        &sign(&order(&stranger, node, "init", "status"), &stranger),
        "is not an operator",
    );
    for (expires, part) in [(NOW - 1, "has expired"), (NOW + 2 * 86_400, "24 hours ahead")] {
        let order = CommandBody { expires, ..order(&anna, node, "init", "status") };
        refused(&host, &sign(&order, &anna), part);
    }
    let mut install = order(&anna, node, "update", "install");
    install.args.insert("file".into(), json!({}));
    refused(&host, &sign(&install, &anna), "takes a file");
    refused(&host, &sign(&order(&anna, node, "gate", "run"), &anna), "cannot bring another");
    let mut unknown = order(&anna, node, "init", "status");
    unknown.args.insert("x".into(), json!(1));
    refused(&host, &sign(&unknown, &anna), "takes no argument `x`");

    // Altered commands are refused.
    let text = String::from(sign(&order(&anna, node, "init", "status"), &anna));
    let asked = host.units.total();
    for at in [0, 10, 100, text.len() - 1] {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(host.ask("run", json!({ "command": changed })).is_err(), "{at}");
    }
    assert_eq!(host.units.total(), asked);
    host.ask("run", json!({ "command": text })).unwrap();
    assert_eq!(host.units.total(), asked + 1);
}

/// The gate uses the time that an owner has stated, not the clock; an owner can correct a time that
/// was ten years wrong.
#[test]
fn a_time_that_was_wrong_is_stated_again() {
    let anna = PrivateKey::generate().unwrap();
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let node = host.identity.node();
    let state = |time: &str| host.ask("trust-time", json!({ "time": time })).unwrap();
    state("2040-01-01T00:00:00Z");
    let late =
        CommandBody { expires: NOW + 10 * 366 * 86_400, ..order(&anna, node, "init", "status") };
    let early = order(&anna, node, "init", "status");
    refused(&host, &sign(&early, &anna), "has expired");
    state("2030-01-01T00:00:00Z");
    host.bring(&sign(&early, &anna)).unwrap();
    refused(&host, &sign(&early, &anna), "was run before");
    refused(&host, &sign(&late, &anna), "more than 24 hours ahead");
}

/// An operator with many signed commands does not block those of others, and `describe` is not
/// counted at all.
#[test]
fn one_operator_takes_no_others_room() {
    let (anna, ben) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let mut host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["read"])]);
    let node = host.identity.node();
    host.ask("trust-time", json!({"time": "2030-01-01T00:00:00Z"})).unwrap();
    let remembered =
        |host: &Host| host.ask("show", json!({})).unwrap()["signed_commands"]["remembered"].clone();
    let described = sign(&order(&ben, node, "init", "describe"), &ben);
    for _ in 0..2 {
        assert!(host.bring(&described).is_ok());
    }
    assert_eq!(remembered(&host), 0);
    let expired = CommandBody { expires: NOW - 1, ..order(&ben, node, "init", "describe") };
    refused(&host, &sign(&expired, &ben), "has expired");

    let bens =
        (0..).take_while(|_| host.bring(&sign(&order(&ben, node, "init", "status"), &ben)).is_ok());
    assert_eq!(bens.count(), 128);
    refused(&host, &sign(&order(&ben, node, "init", "status"), &ben), "128 commands of this key");
    host.kill();
    host.start();
    refused(&host, &sign(&order(&ben, node, "init", "status"), &ben), "128 commands of this key");
    host.bring(&sign(&order(&anna, node, "init", "status"), &anna)).unwrap();
    host.bring(&described).unwrap();
    assert_eq!(remembered(&host), 129);
}

/// Commands of a former operator are refused, even if they were signed before.
#[test]
fn whose_key_was_taken_out_is_refused() {
    let (anna, ben) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let mut host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["read"])]);
    let node = host.identity.node();
    host.ask("trust-time", json!({"time": "2030-01-01T00:00:00Z"})).unwrap();
    let [first, second] = [(); 2].map(|()| sign(&order(&ben, node, "init", "status"), &ben));
    host.bring(&first).unwrap();
    host.restart_for(&[("anna", &anna, &["own"])]);
    refused(&host, &second, "is not an operator");
    refused(&host, &first, "is not an operator");
    host.bring(&sign(&order(&anna, node, "init", "status"), &anna)).unwrap();
}

/// If the file of executed commands is damaged, all commands are refused, but operators can
/// connect.
#[test]
fn a_damaged_store_lets_nothing_through() {
    let anna = PrivateKey::generate().unwrap();
    let mut host = Host::new(&[("anna", &anna, &["own"])]);
    let node = host.identity.node();
    host.ask("trust-time", json!({"time": "2030-01-01T00:00:00Z"})).unwrap();
    host.bring(&sign(&order(&anna, node, "init", "status"), &anna)).unwrap();
    host.kill();
    let path = host.state().join("ids");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    host.start();
    refused(&host, &sign(&order(&anna, node, "init", "status"), &anna), "damaged");
    host.at().ask(&anna, "status", json!({})).unwrap();
    host.kill();
    std::fs::write(&path, &whole).unwrap();
    host.start();
    host.bring(&sign(&order(&anna, node, "init", "status"), &anna)).unwrap();
}

/// However often the gate is killed while commands arrive, no command runs twice.
#[test]
fn killed_at_any_moment() {
    let anna = PrivateKey::generate().unwrap();
    let mut host = Host::new(&[("anna", &anna, &["own"])]);
    let node = host.identity.node();
    host.ask("trust-time", json!({"time": "2030-01-01T00:00:00Z"})).unwrap();
    for round in 0..8 {
        let commands: Vec<Command> =
            (0..30).map(|_| sign(&order(&anna, node, "init", "status"), &anna)).collect();
        let before = host.units.count("init status");
        let answered = std::thread::scope(|scope| {
            let host = &host;
            let bringing = scope.spawn(|| {
                commands.iter().take_while(|command| host.bring(command).is_ok()).count()
            });
            wait_until("so many are run", || host.units.count("init status") > before + round);
            host.kill_now();
            bringing.join().unwrap()
        });
        host.reap();
        host.units.settle(&host.socket("init"));
        host.start();
        let ran = host.units.count("init status") - before;
        assert!(ran >= answered && ran <= answered + 1, "{ran} ran, {answered} answered");
        // All commands are delivered again: those that ran are refused, and the others run. One may
        // have been recorded without having started.
        let again = commands.iter().filter(|command| host.bring(command).is_ok()).count();
        let total = host.units.count("init status") - before;
        assert_eq!(total, ran + again);
        assert!(total == commands.len() || total == commands.len() - 1, "{total}");
    }
}

/// Services that deliver commands check whether a key is an operator's. The check is not counted as
/// a command.
#[test]
fn whose_key_it_is() {
    let [anna, stranger] = [(); 2].map(|()| PrivateKey::generate().unwrap());
    let host = Host::new(&[("anna", &anna, &["own"])]);
    let whose = |key: &str| host.ask("check-key", json!({ "key": key }));
    assert_eq!(whose(&anna.public().to_string()).unwrap(), "operator");
    assert_eq!(whose(&stranger.public().to_string()).unwrap(), "unknown");
    assert!(whose("anna").unwrap_err().to_string().contains("key"));
    assert_eq!(host.ask("show", json!({})).unwrap()["signed_commands"]["remembered"], 0);
}

/// `verbs` lists exactly the verbs that the caller is permitted to call.
#[test]
fn each_is_told_what_they_may_ask() {
    let [anna, ben] = [(); 2].map(|()| PrivateKey::generate().unwrap());
    let host = Host::new(&[("anna", &anna, &["own"]), ("ben", &ben, &["operate:cache"])]);
    let node = host.identity.node();
    host.ask("trust-time", json!({ "time": "2030-01-01T00:00:00Z" })).unwrap();
    let told = |by: &PrivateKey, signed: bool| {
        let mut asked = order(by, node, "gate", "verbs");
        if signed {
            asked.args.insert("signed".to_owned(), true.into());
        }
        let text = host.bring(&sign(&asked, by)).unwrap();
        let lines = text.as_str().unwrap().lines().map(|line| {
            let (verb, _) = line.split_once(": ").unwrap();
            verb.to_owned()
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(told(&ben, true), ["gate verbs [signed=true]", "cache purge"]);
    let of_anna = told(&anna, false);
    for verb in ["update install file=FILE", "gate run command=TEXT"] {
        assert!(of_anna.contains(&verb.to_owned()), "{of_anna:?}");
    }
    let signed = told(&anna, true);
    let left = of_anna.iter().filter(|line| !signed.contains(line)).map(String::as_str);
    let left: Vec<_> = left.collect();
    assert_eq!(left, ["gate run command=TEXT", "update install file=FILE"]);
    // `relay` is internal: only `octetctl --board` calls it.
    assert!(!of_anna.iter().any(|line| line.starts_with("gate relay")), "{of_anna:?}");

    // All listed verbs are permitted, and others are refused.
    for line in told(&ben, true) {
        let words: Vec<_> = line.split(' ').collect();
        host.bring(&sign(&order(&ben, node, words[0], words[1]), &ben)).unwrap();
    }
    for (unit, verb) in [("cache", "stats"), ("update", "revoke"), ("gate", "show")] {
        refused(&host, &sign(&order(&ben, node, unit, verb), &ben), "needs");
    }
}
