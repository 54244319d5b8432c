//! Applies the plan to a router, or leaves it as it was.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use crate::site::{HEAD, LINES, Site, plan, plan_of, router, set_up};
use octet_openwrt::apply::{ApplyError, ApplyOutcome, apply};
use octet_openwrt::desired::DesiredConfig;
use octet_openwrt::diff::diff;
use octet_openwrt::missing::missing;
use octet_openwrt::state::RouterState;
use octet_openwrt::ubus::{Login, UbusCall, UbusError};
use octet_openwrt::verify::verify;
use octet_openwrt_double::Router;
use octet_openwrt_double::uci::Package;
use serde_json::json;

pub fn keep(_: &RouterState) -> io::Result<()> {
    Ok(())
}

/// Applies and removes the plan in few requests, none of which writes if nothing is to be done.
#[test]
fn there_and_back() {
    let site = Site::start(router());
    let plan = plan(LINES);
    let before = site.sections();
    assert!(before[0].is_empty() && !before[1].is_empty());

    let kept = RefCell::new(String::new());
    site.0.count(None);
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |state| {
        // Nothing was touched yet.
        assert_eq!(site.0.writing(), 0);
        *kept.borrow_mut() = state.export();
        Ok(())
    });
    assert_eq!(outcome.unwrap(), ApplyOutcome::Applied);
    let requests = site.0.requests();
    println!("{} requests, {} of them writing", requests.len(), site.0.writing());
    assert!(requests.len() <= 16, "{}", requests.len());
    assert!(kept.borrow().contains("package network") && kept.borrow().contains("'br-lan.1'"));
    let after = site.sections();
    assert_eq!(after[1], before[1]);
    assert_eq!(after[0].iter().filter(|it| it.contains("config bridge-vlan")).count(), 9);
    assert!(!site.0.with(|router| router.is_pending()));
    site.0.pass(Duration::from_secs(600));
    assert_eq!(site.sections(), after);

    site.0.count(None);
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep);
    assert_eq!(outcome.unwrap(), ApplyOutcome::Nothing);
    assert_eq!((site.0.requests().len(), site.0.writing()), (2, 0));

    // Only what differs is changed.
    let other = crate::site::plan(&LINES.replace("rate = 100", "rate = 50"));
    assert_eq!(
        apply(&mut site.ubus(), &DesiredConfig::Plan(&other), keep).unwrap(),
        ApplyOutcome::Applied
    );
    let changed = site.sections()[0].iter().filter(|it| !after[0].contains(it)).count();
    assert_eq!(changed, 8);

    assert_eq!(
        apply(&mut site.ubus(), &DesiredConfig::Nothing, keep).unwrap(),
        ApplyOutcome::Applied
    );
    assert_eq!(site.sections(), before);
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_touched() {
    let plan = plan(LINES);
    let refused = |site: &Site, keep: fn(&RouterState) -> io::Result<()>| {
        let before = site.sections();
        site.0.count(None);
        let error = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap_err();
        assert_eq!(site.sections(), before);
        error
    };
    // The owner's network on the whole switch.
    let network = router().file("network").replace("'br-lan.1'", "'br-lan'");
    let mut whole = Router::with(&[("network", &network)]);
    set_up(&mut whole);
    whole.port = "wan".to_owned();
    let site = Site::start(whole);
    let error = refused(&site, keep);
    assert!(
        matches!(&error, ApplyError::Conflicts(all) if all[0].contains("whole switch")),
        "{error}"
    );
    assert_eq!(site.0.writing(), 0);

    let site = Site::start(router());
    let error = refused(&site, |_| Err(io::Error::other("full")));
    assert!(matches!(error, ApplyError::Copy(_)), "{error}");
    assert_eq!(site.0.writing(), 0);

    // A login that may only read.
    let error = apply(
        &mut site.ubus_as(Login { name: "viewer".into(), password: "adapterpw".into() }),
        &DesiredConfig::Plan(&plan),
        keep,
    );
    let error = error.unwrap_err();
    assert!(matches!(&error, ApplyError::Ubus(UbusError::Denied(_))), "{error}");

    // Another login's change that waits to be confirmed.
    let mut other = site.ubus_as(Login { name: "root".into(), password: "rootpw".into() });
    let set = json!({ "config": "network", "section": "wan6", "values": { "reqprefix": "no" } });
    other.ask(&[UbusCall::uci("set", set)]).unwrap().remove(0).unwrap();
    let timeout = json!({ "rollback": true, "timeout": 60 });
    other.ask(&[UbusCall::uci("apply", timeout)]).unwrap().remove(0).unwrap();
    let error = refused(&site, keep);
    assert!(error.to_string().contains("waits to be confirmed"), "{error}");
    assert!(site.0.with(|router| router.is_pending()));
    other.ask(&[UbusCall::uci("confirm", json!({}))]).unwrap().remove(0).unwrap();
    assert_eq!(
        apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap(),
        ApplyOutcome::Applied
    );
}

/// The owner puts a VLAN tag of a board's port into a network of his own, after the plan was
/// applied.
#[test]
fn a_way_past_the_vlans_is_told() {
    let site = Site::start(router());
    let plan = plan(LINES);
    let mut ubus = site.ubus();
    assert_eq!(apply(&mut ubus, &DesiredConfig::Plan(&plan), keep).unwrap(), ApplyOutcome::Applied);
    let set = |router: &mut Router, device: &str| {
        let add = |package: &mut Package| {
            package.follow(&vec![json!("set"), json!("guest"), json!("interface")]);
            package.follow(&vec![json!("set"), json!("guest"), json!("device"), json!(device)]);
        };
        router.edit("network", add);
    };
    // On a port that the plan does not name this is allowed.
    site.0.with(|router| set(router, "lan10.20"));
    assert_eq!(verify(&mut ubus, &DesiredConfig::Plan(&plan)).unwrap(), [""; 0]);
    site.0.with(|router| set(router, "lan1.20"));
    site.0.count(None);
    let wanted = "network interface 'guest' is on lan1.20, which leads to board-1";
    let found = verify(&mut ubus, &DesiredConfig::Plan(&plan)).unwrap();
    assert!(found.len() == 1 && found[0].contains(wanted), "{found:?}");
    let found = diff(&mut ubus, &plan).unwrap();
    assert!(found.iter().any(|it| it.contains(wanted)), "{found:?}");
    let error = apply(&mut ubus, &DesiredConfig::Plan(&plan), keep).unwrap_err();
    let is_told =
        matches!(&error, ApplyError::Conflicts(all) if all.len() == 1 && all[0].contains(wanted));
    assert!(is_told, "{error}");
    assert_eq!(site.0.writing(), 0);
}

/// The client is in the network of the owner's devices, whose port changes: the connection to the
/// router breaks, and comes back after the roll-back.
#[test]
fn a_lock_out_is_undone() {
    let network = router()
        .file("network")
        .replace("\tlist ports 'lan10'\n", "\tlist ports 'lan10'\n\tlist ports 'lan11'\n");
    let mut router = Router::with(&[("network", &network)]);
    set_up(&mut router);
    let site = Site::start(router);
    let other = |port: &str| plan_of(&HEAD.replace("lan9", port), LINES);
    assert_eq!(
        apply(&mut site.ubus(), &DesiredConfig::Plan(&other("lan9")), keep).unwrap(),
        ApplyOutcome::Applied
    );
    let before = site.sections();
    site.0.with(|router| router.port = "lan9".to_owned());
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&other("lan11")), keep).unwrap();
    assert!(matches!(&outcome, ApplyOutcome::Undone(why) if why.contains("reach")), "{outcome:?}");
    assert_eq!(site.sections(), before);
    site.0.pass(Duration::from_secs(30));
    assert!(site.0.with(|router| router.is_reached()));
    // From a port that stays, it succeeds.
    site.0.with(|router| router.port = "lan10".to_owned());
    assert_eq!(
        apply(&mut site.ubus(), &DesiredConfig::Plan(&other("lan11")), keep).unwrap(),
        ApplyOutcome::Applied
    );
}

/// Daemons that apply nothing of the configuration, and a rule that the firewall skips.
#[test]
fn what_the_daemons_do_is_looked_at() {
    let plan = plan(LINES);
    let mut deaf = router();
    deaf.is_deaf = true;
    let site = Site::start(deaf);
    let before = site.sections();
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap();
    assert!(
        matches!(&outcome, ApplyOutcome::Undone(why) if why.contains("no interface")),
        "{outcome:?}"
    );
    assert_eq!(site.sections(), before);

    let site = Site::start(router());
    let mut ubus = site.ubus();
    assert_eq!(apply(&mut ubus, &DesiredConfig::Plan(&plan), keep).unwrap(), ApplyOutcome::Applied);
    let mut state = RouterState::read(&mut ubus).unwrap();
    let (wanted, _) = DesiredConfig::Plan(&plan).change(&state).unwrap();
    assert_eq!(missing(&wanted, &state.live), [""; 0]);
    for (what, from, to) in [
        ("rules for `built-in dhcp`", "\"!fw4: built-in dhcp\"", "\"!fw4: other\""),
        ("br-lan.1003 in zone o_board3 (input)", "jump input_o_board3 ", "jump input_other "),
    ] {
        let rules = state.live.rules.replacen(from, to, 1);
        let rules = std::mem::replace(&mut state.live.rules, rules);
        let found = missing(&wanted, &state.live);
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
        state.live.rules = rules;
    }
    let bridge = &state.live.devices["br-lan"]["bridge-vlans"].clone();
    for (what, at, value) in [
        ("has lan1:* lan2:*, not lan1:*", 1, json!(["lan1:*", "lan2:*"])),
        ("has , not lan1:*", 1, json!([])),
        ("lan1 is in VLAN 1 of br-lan, and in 1001", 0, json!(["lan10:*", "lan1:t"])),
    ] {
        state.live.devices["br-lan"]["bridge-vlans"][at]["ports"] = value;
        let found = missing(&wanted, &state.live);
        assert!(found.iter().any(|it| it.contains(what)), "{found:?}");
        state.live.devices["br-lan"]["bridge-vlans"] = bridge.clone();
    }
}
