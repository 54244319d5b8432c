//! config as a process, with simulated units.

#![cfg(test)]

mod host;
mod killed;
mod signed;

use octet_node::control::{By, FailureCode};
use serde_json::json;

use host::{Host, IMAGE, Mood, failure};
use octet_as_pid_1::wait_until;

const ANNA: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

/// A configuration with this name, and one operator.
fn text(name: &str) -> String {
    format!(
        "[appliance]\nname = {name:?}\n[operator]\n\
         keys = [{{ key = {ANNA:?}, name = {name:?}, may = [\"own\"] }}]\n"
    )
}

#[test]
fn applied_confirmed_and_gone_back() {
    let host = Host::new();
    let config = host.start();
    assert_eq!(config.text(), IMAGE);
    let ask = |verb, args| config.call(By::Port, verb, args);
    let changes = config.send(By::Port, "diff", &text("one"), json!({})).unwrap();
    assert_eq!(changes[0]["key"], "appliance.name");
    assert_eq!((&changes[0]["old"], &changes[0]["new"]), (&json!("image"), &json!("one")));
    assert_eq!(config.text(), IMAGE);
    host.unit.take_verbs();

    let applied = config.apply(By::Port, &text("one"), json!({})).unwrap();
    assert_eq!(applied["applied"], 1);
    assert_eq!(config.text(), text("one"));
    assert_eq!(host.unit.has().unwrap()["keys"][0]["name"], "one");
    let asked = host.unit.log.lock().unwrap()[0].clone();
    assert_eq!((asked.0.as_str(), &asked.1["keys"][0]["name"]), ("config-check", &json!("one")));
    assert_eq!(host.unit.take_verbs(), ["config-check", "config-apply"]);
    let left = ask("show", json!({})).unwrap()["undone_in_seconds"].as_u64().unwrap();
    assert!((1..=120).contains(&left), "{left}");
    assert_eq!(ask("confirm", json!({})).unwrap()["confirmed"], 1);
    assert_eq!(failure(ask("confirm", json!({}))).code, FailureCode::NotFound);
    assert_eq!(config.apply(By::Port, &text("one"), json!({})).unwrap()["unchanged"], 1);

    config.apply(By::Port, &text("two"), json!({})).unwrap();
    let busy = failure(config.apply(By::Port, &text("three"), json!({})));
    assert_eq!(busy.code, FailureCode::Busy, "{busy}");
    assert_eq!(ask("rollback", json!({})).unwrap()["undone"], 2);
    assert_eq!(config.text(), text("one"));
    assert_eq!(host.unit.has().unwrap()["keys"][0]["name"], "one");
    config.apply(By::Port, &text("two"), json!({})).unwrap();
    ask("confirm", json!({})).unwrap();
    config.kill();

    let config = host.start();
    let ask = |verb, args| config.call(By::Port, verb, args);
    assert_eq!(config.text(), text("two"));
    assert_eq!(ask("rollback", json!({})).unwrap()["applied"], 4);
    assert_eq!(config.text(), text("one"));
    ask("confirm", json!({})).unwrap();
    let history = ask("history", json!({})).unwrap();
    let standings: Vec<&str> =
        history.as_array().unwrap().iter().map(|row| row["standing"].as_str().unwrap()).collect();
    assert_eq!(standings, ["confirmed", "confirmed", "undone", "confirmed", "the image's"]);
    assert_eq!((&history[0]["again"], &history[0]["in_force"]), (&json!(1), &json!(true)));
    let taken = humantime::parse_rfc3339(history[0]["taken"].as_str().unwrap()).unwrap();
    assert!(taken.elapsed().unwrap().as_secs() < 3600, "{history}");
    // The image's configuration has no owner, and the active one has.
    let last = failure(ask("rollback", json!({ "to": "0" })));
    assert!(last.message.contains("would have no owner"), "{last}");
}

/// The answer uses the file name that the operator has given, marks the position of a mistake, and
/// repeats new keys.
#[test]
fn the_answer_is_about_the_file_that_was_given() {
    let host = Host::new();
    let config = host.start();
    let wrong = text("one").replace("may", "might");
    for verb in ["diff", "apply"] {
        let told = config.send(By::Port, verb, &wrong, json!({ "called": "my/box.toml" }));
        let message = failure(told).message;
        let lines: Vec<_> = message.lines().collect();
        assert!(lines[0].starts_with("my/box.toml:4:"), "{message}");
        assert!(lines[1].starts_with("4 | keys = [") && lines[2].contains("^^"), "{message}");
    }
    let called = json!({ "called": "my/box.toml" });
    let applied = config.apply(By::Port, &text("one"), called).unwrap();
    assert_eq!(applied["file"], "my/box.toml");
    assert_eq!(applied["new_keys"], json!([format!("operator one: {ANNA}")]));
    config.call(By::Port, "confirm", json!({})).unwrap();
    let same = text("one").replacen("\"one\"", "\"two\"", 1);
    let applied = config.apply(By::Port, &same, json!({})).unwrap();
    assert_eq!((&applied["file"], applied.get("new_keys")), (&json!("appliance.toml"), None));
}

#[test]
fn what_nobody_confirms_undoes_itself() {
    let host = Host::new();
    let config = host.start();
    config.apply(By::Port, &text("one"), json!({ "confirm": 10 })).unwrap();
    wait_until("it undoes itself", || config.text() == IMAGE);
    wait_until("the unit is told", || host.unit.has() == Some(json!({ "keys": [] })));
    assert_eq!(host.copies(), ["00000000000000000001.undone"]);
    for seconds in [9, 3601] {
        let bad = failure(config.apply(By::Port, &text("two"), json!({ "confirm": seconds })));
        assert_eq!(bad.code, FailureCode::BadArgument, "{bad}");
    }
}

#[test]
fn a_unit_refuses_before_anything_is_applied() {
    let host = Host::new();
    let config = host.start();
    host.unit.take_verbs();
    host.set(Mood::Refuses);
    let refused = failure(config.apply(By::Port, &text("one"), json!({})));
    assert_eq!(
        (refused.message.as_str(), refused.help.as_str()),
        ("gate refuses: too many", "fewer")
    );
    assert_eq!(host.unit.take_verbs(), ["config-check"]);
    assert_eq!((config.text().as_str(), host.copies().len()), (IMAGE, 0));
    // A change of another section does not concern the unit.
    let name = IMAGE.replace("\"image\"", "\"other\"");
    config.apply(By::Port, &name, json!({})).unwrap();
    assert_eq!(host.unit.take_verbs(), Vec::<String>::new());
    config.call(By::Port, "confirm", json!({})).unwrap();
    // A unit that does not run is not asked, and the answer lists it.
    *host.state.lock().unwrap() = "failed";
    let applied = config.apply(By::Port, &text("one"), json!({})).unwrap();
    assert_eq!(applied["not_running"], json!(["gate"]));
}

#[test]
fn who_cannot_live_with_it_has_all_put_back() {
    let host = Host::new();
    let config = host.start();
    host.unit.take_verbs();
    host.set(Mood::Breaks);
    let broken = failure(config.apply(By::Port, &text("one"), json!({})));
    assert!(broken.message.contains("out of paint"), "{broken}");
    assert_eq!(host.unit.has(), Some(json!({ "keys": [] })));
    assert_eq!(host.unit.take_verbs(), ["config-check", "config-apply", "config-apply"]);
    assert_eq!((config.text().as_str(), host.copies().len()), (IMAGE, 1));
    assert_eq!(config.apply(By::Port, &text("one"), json!({})).unwrap()["applied"], 2);
}

#[test]
fn mistakes_are_told_with_their_line() {
    let host = Host::new();
    let config = host.start();
    let apply = |text: &str| failure(config.apply(By::Port, text, json!({})));
    for (wrong, line, part) in [
        (IMAGE.replace("musl", "bash"), "appliance.toml:4:", "only a build"),
        (IMAGE.replace("\"image\"", "\"Image\""), "appliance.toml:2:", "Image"),
        (format!("{IMAGE}[operators]\n"), "appliance.toml:8:", "unknown field"),
        (text("one").replace("own", "owe"), "appliance.toml:4:", "cannot be granted"),
    ] {
        let failure = apply(&wrong);
        assert!(failure.message.starts_with(line) && failure.message.contains(part), "{failure}");
        assert!(!failure.help.is_empty());
    }
    assert!(apply(&" ".repeat(200 << 10)).message.contains("longer than"));
    assert_eq!((config.text().as_str(), host.copies().len()), (IMAGE, 0));
}
