//! The authorization of changes on a box with operators.

use octet_node::control::{By, FailureCode};
use octet_node::key::PrivateKey;
use serde_json::json;

use crate::host::{Config, Host, failure};

struct People {
    anna: PrivateKey,
    ben: PrivateKey,
}

impl People {
    /// A configuration in which Anna is the owner and Ben may configure, with additional lines.
    fn text(&self, name: &str, more: &str) -> String {
        let (anna, ben) = (self.anna.public(), self.ben.public());
        format!(
            "[appliance]\nname = {name:?}\n[operator]\nkeys = [\n\
             {{ key = \"{anna}\", name = \"anna\", may = [\"own\"] }},\n\
             {{ key = \"{ben}\", name = \"ben\", may = [\"configure\"] }},\n{more}]\n"
        )
    }
}

/// A box that Anna owns.
fn owned(host: &Host) -> (Config<'_>, People) {
    let config = host.start();
    let people =
        People { anna: PrivateKey::generate().unwrap(), ben: PrivateKey::generate().unwrap() };
    // Root may make changes until there are operators.
    config.apply(By::Root, &people.text("one", ""), json!({})).unwrap();
    config.call(By::Root, "confirm", json!({})).unwrap();
    (config, people)
}

#[test]
fn configure_changes_settings_and_own_changes_owners() {
    let host = Host::new();
    let (config, people) = owned(&host);
    let confirm = |by| config.call(By::Operator(by), "confirm", json!({})).unwrap();
    let by = config.call(By::Port, "show", json!({})).unwrap();
    assert_eq!((&by["by"], &by["signed"]), (&json!("root"), &json!(false)));

    config.apply_signed(&people.ben, &people.text("two", ""), 2).unwrap();
    confirm(people.ben.public());
    let shown = config.call(By::Port, "show", json!({})).unwrap();
    assert_eq!(shown["by"], people.ben.public().to_string());
    assert_eq!(shown["signed"], true);

    let eve = PrivateKey::generate().unwrap();
    let line = format!("{{ key = \"{}\", name = \"eve\", may = [\"read\"] }},\n", eve.public());
    let with_eve = people.text("two", &line);
    let denied = failure(config.apply_signed(&people.ben, &with_eve, 3));
    assert!(denied.message.contains("`ben` does not own"), "{denied}");
    config.apply_signed(&people.anna, &with_eve, 3).unwrap();
    confirm(people.anna.public());

    let alone = people.text("three", "").replace("\"own\"", "\"configure\"");
    let denied = failure(config.apply_signed(&people.anna, &alone, 4));
    assert!(denied.message.contains("would have no owner"), "{denied}");
    let denied = failure(config.apply_signed(&eve, &people.text("four", &line), 4));
    assert!(denied.message.contains("`eve` may not configure"), "{denied}");
}

#[test]
fn only_for_this_box_this_text_this_number() {
    let host = Host::new();
    let (config, people) = owned(&host);
    let (two, three) = (people.text("two", ""), people.text("three", ""));
    let by = By::Operator(people.ben.public());
    let node = host.node.public();
    let denied = |by, text: &str, args| {
        let failure = failure(config.apply(by, text, args));
        assert_eq!(failure.code, FailureCode::Denied, "{failure}");
        failure.message
    };
    let sign = |text: &str, sequence, target| host.signed(&people.ben, text, sequence, target);
    assert!(denied(by, &two, json!({})).contains("signed by one of them"));
    assert!(denied(By::Root, &two, json!({})).contains("signed by one of them"));
    let other = PrivateKey::generate().unwrap().public();
    assert!(denied(by, &two, sign(&two, 2, other)).contains("for the box"));
    assert!(denied(by, &three, sign(&two, 2, node)).contains("SHA-256"));
    assert!(denied(by, &two, sign(&two, 1, node)).contains("the next one is 2"));
    assert!(denied(by, &two, sign(&two, 3, node)).contains("the next one is 2"));
    let anna = By::Operator(people.anna.public());
    assert!(denied(anna, &two, sign(&two, 2, node)).contains("was signed by"));
    let mut longer = sign(&two, 2, node);
    longer["confirm"] = json!(3600);
    assert!(denied(by, &two, longer).contains("other arguments"));
    let stranger = PrivateKey::generate().unwrap();
    let args = host.signed(&stranger, &two, 2, node);
    assert!(denied(By::Operator(stranger.public()), &two, args).contains("none of the operators"));

    // Any caller may deliver the signed command to the box it is for, but only once.
    config.apply(By::Root, &two, sign(&two, 2, node)).unwrap();
    config.call(by, "confirm", json!({})).unwrap();
    assert!(denied(by, &two, sign(&two, 2, node)).contains("the next one is 3"));
    config.apply(by, &three, sign(&three, 3, node)).unwrap();
    config.call(by, "rollback", json!({})).unwrap();
    assert!(denied(by, &three, sign(&three, 3, node)).contains("the next one is 4"));
    config.kill();
    let config = host.start();
    for sequence in [0, 1, 2, 3] {
        let replayed = failure(config.apply(by, &three, sign(&three, sequence, node)));
        assert!(replayed.message.contains("the next one is 4"), "{replayed}");
    }
    config.apply(by, &three, sign(&three, 4, node)).unwrap();
}

#[test]
fn what_only_an_owner_may_change_others_do_not_take_back() {
    let host = Host::new();
    let (config, people) = owned(&host);
    let back = |key: &PrivateKey| config.call(By::Operator(key.public()), "rollback", json!({}));
    let eve = PrivateKey::generate().unwrap();
    let line = format!("{{ key = \"{}\", name = \"eve\", may = [\"read\"] }},\n", eve.public());
    config.apply_signed(&people.anna, &people.text("one", &line), 2).unwrap();
    let denied = failure(back(&people.ben));
    assert!(denied.message.contains("`ben` does not own this box"), "{denied}");
    let denied = failure(config.call(By::Root, "rollback", json!({})));
    assert!(denied.message.contains("signed by one of them"), "{denied}");
    assert_eq!(back(&people.anna).unwrap()["undone"], 2);
    // He may undo a change that he could have made himself.
    config.apply_signed(&people.anna, &people.text("two", ""), 3).unwrap();
    assert_eq!(back(&people.ben).unwrap()["undone"], 3);
}

#[test]
fn an_owner_goes_before_what_others_try() {
    let host = Host::new();
    let (config, people) = owned(&host);
    let text = |name| people.text(name, "");
    let (node, anna) = (host.node.public(), By::Operator(people.anna.public()));
    let signed = host.signed(&people.anna, &text("hers"), 2, node);
    // Meanwhile the number is used, and a change is pending.
    config.apply_signed(&people.ben, &text("his"), 2).unwrap();
    config.call(By::Operator(people.ben.public()), "rollback", json!({})).unwrap();
    config.apply_signed(&people.ben, &text("his-again"), 3).unwrap();
    let busy = failure(config.apply_signed(&people.ben, &text("and-again"), 4));
    assert_eq!(busy.code, FailureCode::Busy, "{busy}");
    assert_eq!(config.apply(anna, &text("hers"), signed.clone()).unwrap()["applied"], 4);
    // He has to wait for her change. A signed number is valid once, even if the change is undone.
    // Only an owner's number stays valid if others alone have used numbers since.
    let busy = failure(config.apply_signed(&people.ben, &text("and-again"), 5));
    assert_eq!(busy.code, FailureCode::Busy, "{busy}");
    config.call(anna, "rollback", json!({})).unwrap();
    let again = failure(config.apply(anna, &text("hers"), signed));
    assert!(again.message.contains("the next one is 5"), "{again}");
    config.apply_signed(&people.ben, &text("his"), 5).unwrap();
    config.call(By::Operator(people.ben.public()), "confirm", json!({})).unwrap();
    let passed = failure(config.apply_signed(&people.anna, &text("hers"), 5));
    assert!(passed.message.contains("the next one is 6"), "{passed}");
    let passed = failure(config.apply_signed(&people.ben, &text("his"), 5));
    assert!(passed.message.contains("the next one is 6"), "{passed}");
}
