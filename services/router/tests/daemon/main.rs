//! End-to-end tests of the unit `router`, with a simulated OpenWrt router. Each refused case is
//! paired with an allowed one on the same host.

#![cfg(test)]

mod host;
mod stand_in;

use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use host::{Host, PASSWORD, cluster, contact};
use octet_node::control::{Failure, FailureCode};
use octet_openwrt_double::{Fault, Router, Server};
use serde_json::{Value, json};

const MANAGER: Option<u8> = Some(2);

fn applied() -> Value {
    json!({ "outcome": "applied" })
}

#[test]
fn there_and_back() {
    let host = Host::start(MANAGER);
    let before = host.network();
    host.log_in(&format!("{PASSWORD}\n# what comes after the first line is nobody's\n")).unwrap();

    host.server.count(None);
    let diff = host.report("diff");
    assert!(diff.iter().any(|it| it.contains("+ network bridge-vlan 'octet_vlan_1'")), "{diff:#?}");
    let lacks = host.report("verify");
    assert!(lacks.iter().any(|it| it.starts_with("not configured: ")), "{lacks:#?}");
    assert_eq!(host.server.writing(), 0);
    assert_eq!(host.all_kept(), ["password"]);

    assert_eq!(host.ask("apply").unwrap(), applied());
    assert!(host.network().contains("octet_vlan_1"));
    assert_eq!(host.ask("apply").unwrap(), json!({ "outcome": "nothing" }));
    assert_eq!(host.report("verify"), [""; 0]);
    assert!(host.report("diff").iter().any(|it| it == "Nothing is to be changed"));

    // The manager's address and port are in the plan now, which permits its connections to the
    // router's web server: other settings are applied over such a connection.
    let rule = format!("octet_board_2_router_tcp_{}", host.server.address().port());
    assert!(host.server.with(|router| router.file("firewall")).contains(&rule), "{rule}");
    let owners = host.server.with(|router| std::mem::replace(&mut router.port, "lan2".to_owned()));
    host.config.set("policy", &Value::Null, true);
    let diff = host.report("diff");
    let lines: Vec<_> = diff.iter().filter(|it| it.starts_with("  - ")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|it| it.contains("_tcp_8080'")), "{diff:#?}");
    assert_eq!(host.ask("apply").unwrap(), applied());
    assert_eq!(host.report("verify"), [""; 0]);
    host.server.with(|router| router.port = owners);

    assert_eq!(host.ask("release").unwrap(), applied());
    assert_eq!(host.network(), before);
    // The backups from before the last change, and before the first one.
    let address = host.server.address().to_string().replace(':', "_");
    let names = [format!("{address}.first.uci"), format!("{address}.uci")];
    assert_eq!(host.all_kept(), [&names[0], &names[1], "password"]);
    let [first, last] = names.map(|name| std::fs::read_to_string(host.kept(&name)).unwrap());
    assert!(first.contains("config bridge-vlan 'mine'") && !first.contains("octet_"), "{first}");
    assert!(last.contains("config bridge-vlan 'octet_vlan_1'"), "{last}");
    for name in host.all_kept() {
        let mode = std::fs::metadata(host.kept(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!host.log().contains(PASSWORD), "{}", host.log());
}

#[test]
fn the_password_is_kept_until_the_owner_takes_it_away() {
    let mut host = Host::start(MANAGER);
    let none = |host: &Host| {
        for verb in ["diff", "apply", "verify", "release"] {
            let failure = host.ask(verb).unwrap_err();
            assert_eq!(failure.code, FailureCode::NotFound, "{failure}");
            assert!(failure.help.contains("router login FINGERPRINT FILE"), "{failure}");
        }
        assert_eq!(host.all_kept(), [""; 0]);
    };
    none(&host);
    for wrong in ["", "\nsecond line", &"x".repeat(1025)] {
        host.log_in(wrong).unwrap_err();
        none(&host);
    }

    host.server.count(None);
    host.log_in("another").unwrap();
    for verb in ["diff", "apply", "verify", "release"] {
        let failure = host.ask(verb).unwrap_err();
        assert!(failure.message.contains("rejects the user `octet`"), "{failure}");
        assert!(failure.help.contains("router login FINGERPRINT FILE"), "{failure}");
    }
    assert_eq!(host.server.writing(), 0);

    host.log_in(PASSWORD).unwrap();
    host.kill();
    host.start_again();
    assert!(host.report("diff").len() > 1);
    let mode = std::fs::metadata(host.kept("password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    host.ask("logout").unwrap();
    none(&host);
    host.ask("logout").unwrap();
    host.kill();
    host.start_again();
    none(&host);
}

#[test]
fn nothing_is_kept_where_it_is_not_needed() {
    let host = Host::start(MANAGER);
    let refused = |message: &str, help: &str| {
        let failure = host.log_in(PASSWORD).unwrap_err();
        assert!(failure.message.contains(message) && failure.help.contains(help), "{failure}");
        assert_eq!(host.all_kept(), [""; 0]);
        for verb in ["diff", "apply", "verify", "release"] {
            let failure = host.ask(verb).unwrap_err();
            assert!(failure.message.contains(message), "{verb}: {failure}");
        }
    };
    for (number, is) in [
        (Some(1), "this is board 1, and the manager is board 2"),
        (Some(0), "this is the router, and the manager is board 2"),
        (None, "this is a board whose number is not known"),
    ] {
        *host.init.0.lock().unwrap() = number;
        refused(is, "role `manager`");
    }
    *host.init.0.lock().unwrap() = MANAGER;
    for (section, message, help) in [
        (Value::Null, "no [cluster]", "router = \"openwrt\""),
        (cluster(&json!("octet")), "runs Octet", "router = \"openwrt\""),
        (cluster(&json!("openwrt")), "do not say where", "fingerprint = …"),
    ] {
        host.config.set("cluster", &section, true);
        refused(message, help);
    }
    host.config.set("cluster", &cluster(&contact(&host.server)), true);
    host.log_in(PASSWORD).unwrap();
    assert_eq!(host.all_kept(), ["password"]);
    assert!(host.report("diff").len() > 1);

    // Once another board is the manager, the password is not used, but can be deleted.
    *host.init.0.lock().unwrap() = Some(1);
    host.server.count(None);
    assert!(host.ask("apply").unwrap_err().help.contains("router logout"));
    assert!(host.server.requests().is_empty());
    host.ask("logout").unwrap();
    assert_eq!(host.all_kept(), [""; 0]);
}

/// Permission to change the settings does not suffice to obtain the password.
#[test]
fn another_machine_is_not_sent_the_password() {
    let host = Host::start(MANAGER);
    host.log_in(PASSWORD).unwrap();
    assert!(host.report("diff").len() > 1);
    let other = Server::start(Router::default()).unwrap();
    host.config.set("cluster", &cluster(&contact(&other)), true);
    host.server.count(None);
    for verb in ["diff", "apply", "verify", "release"] {
        let failure = host.ask(verb).unwrap_err();
        assert!(failure.message.contains("another certificate"), "{failure}");
    }
    assert!(other.requests().is_empty() && host.server.requests().is_empty());
    // The password is also not stored for the new router by an owner who names the first one, until
    // the owner names the new one.
    let failure = host.log_in(PASSWORD).unwrap_err();
    assert_eq!(failure.code, FailureCode::BadArgument, "{failure}");
    assert!(failure.message.contains("a router with another certificate: sha256:"), "{failure}");
    assert!(host.ask("diff").unwrap_err().message.contains("another certificate"));
    assert!(other.requests().is_empty());
    host.log_in_to(&other, PASSWORD).unwrap();
    let failure = host.ask("diff").unwrap_err();
    assert!(failure.message.contains("rejects the user `octet`"), "{failure}");
    assert!(!other.requests().is_empty());
}

#[test]
fn a_plan_has_to_come_of_what_is_to_come() {
    let host = Host::start(MANAGER);
    host.ask("config-check").unwrap();
    let policy = json!([{ "from": "lan", "to": "board-9", "protocol": "tcp", "ports": [8080] }]);
    host.config.set("policy", &policy, false);
    let failure = host.ask("config-check").unwrap_err();
    assert_eq!(failure.code, FailureCode::BadArgument, "{failure}");
    assert!(failure.message.contains("no board 9"), "{failure}");
    // The active settings differ from the pending ones.
    host.ask("config-apply").unwrap();
    host.log_in(PASSWORD).unwrap();
    assert!(host.report("diff").len() > 1);
    // This unit ignores settings of a box whose router runs Octet.
    host.config.set("cluster", &cluster(&json!("octet")), false);
    host.ask("config-check").unwrap();
}

#[test]
fn one_change_at_a_time() {
    let host = Host::start(MANAGER);
    host.log_in(PASSWORD).unwrap();
    host.server.count(Some((0, Fault::HoldBefore)));
    thread::scope(|scope| {
        let first = scope.spawn(|| host.ask("apply"));
        // The service waits for the router's response.
        host.server.wait_until_gone();
        for verb in ["apply", "release", "diff", "verify"] {
            let failure = host.ask(verb).unwrap_err();
            assert_eq!(failure.code, FailureCode::Busy, "{verb}: {failure}");
            assert!(failure.message.contains("in progress"), "{failure}");
        }
        host.server.back();
        assert_eq!(first.join().unwrap().unwrap(), applied());
    });
    assert_eq!(host.report("verify"), [""; 0]);
    assert_eq!(host.ask("release").unwrap(), applied());
}

/// A change waits for readers of the router; these do not block each other, and cannot starve a
/// change.
#[test]
fn a_change_waits_for_who_looks() {
    let host = Host::start(MANAGER);
    host.log_in(PASSWORD).unwrap();
    host.server.count(Some((0, Fault::HoldAfter)));
    thread::scope(|scope| {
        let looks = scope.spawn(|| host.ask("diff"));
        host.server.wait_until_gone();
        let change = scope.spawn(|| host.ask("apply"));
        // Once a change waits, new readers are refused.
        let refused = |failure: Failure| failure.code == FailureCode::Busy;
        while !host.ask("verify").is_err_and(refused) {}
        host.server.back();
        looks.join().unwrap().unwrap();
        assert_eq!(change.join().unwrap().unwrap(), applied());
    });
    assert_eq!(host.report("verify"), [""; 0]);
}

/// If the service is killed right after the router has applied a change, the router rolls it back,
/// and the next change succeeds.
#[test]
fn killed_in_the_middle_of_a_change() {
    let mut host = Host::start(MANAGER);
    host.log_in(PASSWORD).unwrap();
    let old = host.network();
    host.server.count(None);
    assert_eq!(host.ask("apply").unwrap(), applied());
    let requests = host.server.requests();
    let is_apply = |body: &[u8]| String::from_utf8_lossy(body).contains("\"apply\"");
    let applies = requests.iter().position(|it| is_apply(&it.body)).unwrap();
    let new = host.network();
    assert_eq!(host.ask("release").unwrap(), applied());

    host.server.count(Some((applies, Fault::HoldAfter)));
    let asked = host.begin("apply");
    host.server.wait_until_gone();
    assert_eq!(host.network(), new);
    host.kill();
    asked.join().unwrap();
    host.server.back();
    host.server.pass(Duration::from_secs(300));
    assert_eq!(host.network(), old);
    host.start_again();
    assert_eq!(host.ask("apply").unwrap(), applied());
    assert_eq!(host.network(), new);
}
