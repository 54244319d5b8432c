//! Compares the double with recordings of a real router, request by request: status, result code
//! and shape must be equal. The recordings are beside the repository and not part of it; without
//! them (and outside CI) a few exchanges replace them.

#![cfg(test)]

mod replay;

use std::collections::BTreeSet;
use std::time::Duration;

use octet_openwrt_double::Router;
use octet_openwrt_double::session::NOBODY;
use octet_openwrt_double::ubus::Answer;
use replay::{Recordings, Replay};
use serde_json::{Value, json};

/// The number of recordings, and of those with a request and its response.
const ALL: usize = 223;
const REQUESTS: usize = 214;

/// The other recordings, by their use: values over time or of a file, names of sections, and
/// frames. One is about packets that a firewall forwards or drops: the double has none.
const TIMES: [&str; 5] = [
    "apply_timeout_history",
    "hazard_result",
    "lockout_timeline",
    "rpcd_killed_while_pending",
    "timing_firewall",
];
const NAMES: [&str; 1] = ["anonymous_name_shift"];
const STATE: [&str; 2] = ["dsa_evidence", "dsa_frame_matrix"];
const PACKETS: [&str; 1] = ["dataplane_default_deny"];

#[test]
fn every_recording_is_answered_alike() {
    let few = Recordings::few();
    let mut replay = Replay::new(&few);
    replay.of_first_stand();
    assert_eq!((few.len(), replay.seen.len()), (8, 8));
    assert_eq!(replay.differences, [""; 0]);
    let Some(recordings) = Recordings::of_a_real_router() else {
        println!("there are no recordings at ../shared/openwrt: a few exchanges stand for them");
        return;
    };
    assert_eq!(recordings.len(), ALL);
    let mut replay = Replay::new(&recordings);
    replay.of_first_stand();
    staging_and_applying(&mut replay);
    vlans_and_zones(&mut replay);
    values(&mut replay);
    assert_eq!(replay.differences, [""; 0]);
    let requests: BTreeSet<_> = recordings.requests().collect();
    assert_eq!(requests.len(), REQUESTS);
    let missing: Vec<_> = requests.difference(&replay.seen).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let others = [&TIMES[..], &NAMES, &STATE, &PACKETS].concat();
    assert_eq!(REQUESTS + others.len(), ALL);
    assert!(others.iter().all(|name| recordings.get(name).is_some() && !requests.contains(*name)));
    println!(
        "{REQUESTS} requests answered alike; of {} others {} checked",
        others.len(),
        others.len() - PACKETS.len()
    );
}

fn prefix(router: &Router) -> String {
    let file = router.file("network");
    let line = file.lines().find_map(|line| line.trim().strip_prefix("option reqprefix "));
    line.unwrap_or_default().trim_matches('\'').to_owned()
}

/// A session stages, applies, confirms and rolls back changes, while another one reads.
fn staging_and_applying(replay: &mut Replay<'_>) {
    replay.fresh(Router::default());
    replay.log_in("0772f8", "adapter");
    replay.log_in("6810c1", "adapter");
    replay.log_in("3bd073", "root");
    let set =
        |to: &str| json!({ "config": "network", "section": "wan6", "values": { "reqprefix": to } });
    let apply = |timeout: u8| json!({ "rollback": true, "timeout": timeout });
    let me = "0772f8";
    replay.ids(me, 2..=6);
    replay.ids("6810c1", 2..=2);
    replay.ids(me, 7..=30);
    replay.ids("3bd073", 31..=31);
    replay.ids(me, 32..=39);
    replay.uci(me, "revert", &json!({ "config": "firewall" }));
    replay.ids(me, 41..=43);
    replay.uci(me, "set", &set("no"));
    replay.ids(me, 45..=49);
    replay.ids("6810c1", 3..=4);
    replay.ids(me, 50..=54);
    replay.uci(me, "revert", &json!({ "config": "network" }));
    replay.ids(me, 56..=56);
    replay.uci(me, "set", &set("auto"));
    replay.uci(me, "apply", &apply(20));
    replay.ids(me, 59..=60);
    replay.ids("6810c1", 5..=5);
    replay.ids(me, 61..=61);
    replay.uci(me, "revert", &json!({ "config": "network" }));

    // The value of a file over time, after an unconfirmed apply.
    replay.uci(me, "set", &set("60"));
    replay.ids(me, 64..=64);
    let mut passed = 0.0;
    for point in replay.other("apply_timeout_history")["history"].as_array().unwrap() {
        let at = point[0].as_f64().unwrap();
        replay.router.pass(Duration::from_secs_f64(at - passed));
        passed = at;
        assert_eq!(json!(prefix(&replay.router)), point[1], "after {at} s");
    }
    replay.ids(me, 65..=66);
    replay.uci(me, "revert", &json!({ "config": "network" }));

    // An apply without rollback while a change is pending: that stays pending until its timeout,
    // and is not undone then.
    replay.uci(me, "set", &set("62"));
    replay.uci(me, "apply", &apply(8));
    replay.ids(me, 70..=70);
    replay.router.pass(Duration::from_secs(20));
    replay.ids(me, 71..=72);
    let hazard = replay.other("hazard_result");
    assert_eq!(json!(prefix(&replay.router)), hazard["value_after_timeout"]);
    assert_ne!(hazard["value_after_timeout"], hazard["expected_if_rolled_back"]);

    replay.uci(me, "set", &set("48"));
    replay.uci(me, "apply", &apply(8));
    replay.uci("6810c1", "set", &set("56"));
    replay.ids("6810c1", 7..=7);
    replay.uci(me, "confirm", &json!({}));
    replay.uci(me, "set", &set("auto"));
    replay.ids(me, 78..=79);
}

/// A switch with VLANs, the firewall's zones for them, and the effect of a lock-out.
fn vlans_and_zones(replay: &mut Replay<'_>) {
    replay.fresh(Router::default());
    let me = "f29c6c";
    replay.log_in(me, "adapter");
    let auto = json!({ "config": "network", "section": "wan6", "values": { "reqprefix": "auto" } });
    replay.uci(me, "set", &auto);
    replay.uci(me, "commit", &json!({ "config": "network" }));
    replay.router.pass(Duration::from_secs(60));
    let add = |config: &str, kind: &str, name: &str, values: Value| json!({ "config": config, "type": kind, "name": name, "values": values });
    let dns = |zone: &str, name: &str| json!({ "name": name, "src": zone, "proto": ["tcp", "udp"], "dest_port": ["53"], "target": "ACCEPT" });
    replay.ids(me, 3..=5);
    let ports = ["lan3:u*", "lan4:u*", "lan7:t"];
    replay.uci(
        me,
        "add",
        &add(
            "network",
            "bridge-vlan",
            "bv20",
            json!({ "device": "br-lan", "vlan": "20", "ports": ports }),
        ),
    );
    replay.ids(me, 7..=7);
    replay.uci(
        me,
        "set",
        &json!({ "config": "network", "section": "lan", "values": { "device": "br-lan.1" } }),
    );
    replay.ids(me, 9..=9);
    let v20 = json!({ "device": "br-lan.20", "proto": "static", "ipaddr": ["10.20.0.1/24"] });
    replay.uci(me, "add", &add("network", "interface", "v20", v20));
    replay.ids(me, 11..=15);
    replay.uci(me, "add", &add("firewall", "rule", "r_v10_dns", dns("v10", "v10-DNS")));
    replay.ids(me, 17..=19);
    replay.uci(me, "add", &add("firewall", "rule", "r_v20_dns", dns("v20", "v20-DNS")));
    replay.ids(me, 21..=23);
    let has_zone = |router: &mut Router, sid: &str| {
        let nft =
            json!({ "command": "/usr/sbin/nft", "params": ["-s", "list", "table", "inet", "fw4"] });
        format!("{:?}", router.call(sid, "file", "exec", nft.as_object().unwrap()))
            .contains("input_v10")
    };
    let sid = replay.session(me);
    let effective = replay.other("timing_firewall")["nft_effective_s"].as_f64().unwrap();
    replay.router.pass(Duration::from_secs_f64(effective - 1.0));
    assert!(!has_zone(&mut replay.router, &sid));
    replay.router.pass(Duration::from_secs(1));
    assert!(has_zone(&mut replay.router, &sid));
    replay.ids(me, 29..=34);

    // The content of its disk, and the paths of frames.
    let evidence = replay.other("dsa_evidence");
    assert_eq!(json!(replay.router.file("network")), evidence["etc_config_network"]);
    assert_eq!(json!(replay.router.file("firewall")), evidence["etc_config_firewall"]);
    let Value::Object(wanted) = replay.other("dsa_frame_matrix") else { panic!() };
    for (from, wanted) in wanted {
        assert_eq!(replay::frames(&replay.router, &from), wanted, "{from}");
    }

    // The client's port leaves its VLAN.
    replay.log_in("1b5311", "adapter");
    replay.ids("1b5311", 2..=3);
    let mut passed = 0.0;
    for point in replay.other("lockout_timeline")["timeline_s"].as_array().unwrap() {
        let at = point[0].as_f64().unwrap();
        // With a tolerance of a second: a real router needs a moment more.
        replay.router.pass(Duration::from_secs_f64((at + 1.0 - passed).max(0.0)));
        passed = at + 1.0;
        let is_up = point[1].as_str().unwrap().starts_with("up");
        assert_eq!(replay.router.is_reached(), is_up, "after {at} s");
    }
    replay.ids("1b5311", 22..=24);

    // Sections with parts that fw4 or the kernel does not support.
    let me = "7e0d79";
    replay.log_in(me, "adapter");
    for (section, name, option, value) in [
        ("bad1", "drop-bad-ip", "dest_ip", "999.1.1.1"),
        ("bad2", "bad-zone", "src", "nozone"),
        ("bad3", "bad-target", "target", "DENY"),
        ("bad4", "bad-port", "dest_port", "99999"),
        ("bad5", "unknown-option", "foo", "1"),
    ] {
        replay.uci(
            me,
            "add",
            &add("firewall", "rule", section, json!({ "name": name, option: value })),
        );
    }
    replay.ids(me, 8..=9);
    replay.uci(me, "rollback", &json!({}));
    replay.uci(me, "revert", &json!({ "config": "firewall" }));
    for (id, vlan) in [
        (13, json!({ "device": "br-lan", "vlan": "5000", "ports": ["lan1:u*"] })),
        (17, json!({ "device": "br-lan", "vlan": "30", "ports": ["lan99:u*"] })),
        (21, json!({ "device": "br-lan", "vlan": "30", "ports": ["lan1:zz"] })),
    ] {
        replay.uci(me, "add", &add("network", "bridge-vlan", "bad", vlan));
        replay.ids(me, id..=id);
        replay.uci(me, "rollback", &json!({}));
        replay.uci(me, "revert", &json!({ "config": "network" }));
    }

    let me = "a3912b";
    replay.log_in(me, "adapter");
    for (section, target) in [("o_drop", "DROP"), ("o_acc", "ACCEPT")] {
        let rule = json!({ "name": format!("O-{target}"), "src": "v10", "dest": "wan", "proto": ["tcp"], "dest_port": ["23"], "target": target });
        replay.uci(me, "add", &add("firewall", "rule", section, rule));
    }
    replay.ids(me, 36..=37);

    let me = "ee8cf3";
    replay.log_in(me, "adapter");
    let shift = replay.other("anonymous_name_shift");
    let rules = |replay: &mut Replay<'_>| {
        let rules = replay.uci(me, "get", &json!({ "config": "firewall", "type": "rule" }));
        json!(rules["values"].as_object().unwrap().keys().collect::<Vec<_>>())
    };
    replay.ids(me, 2..=2);
    assert_eq!(rules(replay), shift["before"]);
    replay.ids(me, 6..=6);
    assert_eq!(rules(replay), shift["staged"]);
    replay.uci(me, "apply", &json!({ "rollback": true, "timeout": 30 }));
    assert_eq!(rules(replay), shift["applied"]);
    replay.uci(me, "confirm", &json!({}));
}

/// The values that `set` accepts, and the state after a kill of rpcd.
fn values(replay: &mut Replay<'_>) {
    replay.fresh(Router::default());
    let me = "e05d1c";
    replay.log_in(me, "adapter");
    for id in (2..=35).step_by(3) {
        replay.ids(me, id..=id);
        replay.uci(me, "revert", &json!({ "config": "network" }));
    }
    let value = json!({ "config": "network", "section": "wan6", "values": { "reqprefix": "63" } });
    replay.uci(me, "set", &value);
    replay.uci(me, "apply", &json!({ "rollback": true, "timeout": 8 }));
    replay.router.kill_rpcd();
    replay.ids(me, 40..=40);
    replay.router.pass(Duration::from_secs(20));
    let killed = replay.other("rpcd_killed_while_pending");
    let killed = killed["value_after_rpcd_killed_during_pending_apply"].as_str().unwrap();
    assert_eq!(killed.lines().next(), Some(prefix(&replay.router).as_str()));
}

/// Behaviour in the source of rpcd (DIFFERENCES.md names the commit) that no recording covers.
#[test]
fn what_waits_to_be_confirmed_is_as_in_rpcd() {
    let mut router = Router::default();
    let mut call = |sid: &str, object: &str, method: &str, args: Value| {
        router.call(sid, object, method, args.as_object().unwrap())
    };
    let code = |answer: Answer| match answer {
        Answer::Result(code, _) => code,
        Answer::Error(..) => panic!("{answer:?}"),
    };
    let login = |user: &str| json!({ "username": user, "password": format!("{user}pw") });
    let sid = |answer: Answer| match answer {
        Answer::Result(0, Some(value)) => value["ubus_rpc_session"].as_str().unwrap().to_owned(),
        _ => panic!("{answer:?}"),
    };
    let set =
        |to: &str| json!({ "config": "network", "section": "wan6", "values": { "reqprefix": to } });
    let first = sid(call(NOBODY, "session", "login", login("adapter")));
    let other = sid(call(NOBODY, "session", "login", login("adapter")));
    assert_ne!(first, other);
    // Without a pending change, a revert without a file name is invalid.
    assert_eq!(code(call(&other, "uci", "revert", json!({}))), 2);
    assert_eq!(code(call(&first, "uci", "set", set("60"))), 0);
    let apply = |rollback: bool| json!({ "rollback": rollback, "timeout": 90 });
    assert_eq!(code(call(&first, "uci", "apply", apply(true))), 0);
    // While a change is pending, it is refused before its arguments are checked, also for the
    // session with that change.
    for sid in [&first, &other] {
        for args in [json!({}), json!({ "config": "network" }), json!({ "config": "none" })] {
            assert_eq!(code(call(sid, "uci", "revert", args)), 6);
        }
    }
    // The same user gets the session again and can confirm; another user cannot.
    let root = sid(call(NOBODY, "session", "login", login("root")));
    assert!(root != first && root != other);
    assert_eq!(code(call(&root, "uci", "confirm", json!({}))), 6);
    let again = sid(call(NOBODY, "session", "login", login("adapter")));
    assert_eq!(again, first);
    // An apply without rollback does nothing meanwhile, and the state for the rollback of the
    // pending change is lost.
    assert_eq!(code(call(&other, "uci", "set", set("56"))), 0);
    assert_eq!(code(call(&other, "uci", "apply", apply(false))), 0);
    assert_eq!(code(call(&again, "uci", "confirm", json!({}))), 0);
    assert!(sid(call(NOBODY, "session", "login", login("adapter"))) != first);

    // `add` appends to an existing list, and accepts an empty one; `set` does neither.
    let ports = |ports: &[&str]| json!({ "config": "network", "type": "device", "name": "x", "values": { "ports": ports } });
    for list in [&["lan1"][..], &[], &["lan2"]] {
        assert_eq!(code(call(&first, "uci", "add", ports(list))), 0);
    }
    let get = json!({ "config": "network", "section": "x", "option": "ports" });
    let value = call(&first, "uci", "get", get);
    assert_eq!(value, Answer::Result(0, Some(json!({ "value": ["lan1", "lan2"] }))));
    let empty = json!({ "config": "network", "section": "x", "values": { "ports": [] } });
    assert_eq!(code(call(&first, "uci", "set", empty)), 2);
    assert_eq!(prefix(&router), "60");
}

/// The order in which uhttpd checks the object, the session and the arguments: the first failure is
/// returned.
#[test]
fn what_is_looked_at_first_is_as_in_uhttpd() {
    let mut router = Router::default();
    let login = json!({ "username": "root", "password": "rootpw" });
    let login = router.call(NOBODY, "session", "login", login.as_object().unwrap());
    let Answer::Result(0, Some(login)) = login else { panic!("{login:?}") };
    let root = login["ubus_rpc_session"].as_str().unwrap();
    let reserved = json!({ "ubus_rpc_session": root });
    for (sid, object, method, args, wanted) in [
        (root, "none", "x", &reserved, -32000),
        (NOBODY, "none", "x", &reserved, -32000),
        ("no session", "none", "x", &json!({}), -32000),
        (NOBODY, "uci", "get", &reserved, -32002),
        ("no session", "uci", "get", &reserved, -32002),
        (root, "uci", "get", &reserved, -32602),
        (NOBODY, "session", "login", &reserved, -32602),
    ] {
        let answer = router.call(sid, object, method, args.as_object().unwrap());
        let is_so = matches!(answer, Answer::Error(code, _) if code == wanted);
        assert!(is_so, "{sid} {object} {method} {args}: {answer:?}");
    }
}
