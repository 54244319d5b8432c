//! A change that waits to be confirmed: a client that only reads leaves it alone, so that the
//! router rolls an unproven change back.

use std::time::Duration;

use crate::apply::keep;
use crate::site::{LINES, Site, plan, router};
use octet_openwrt::apply::{ApplyError, ApplyOutcome, apply};
use octet_openwrt::desired::DesiredConfig;
use octet_openwrt::diff::diff;
use octet_openwrt::state::RouterState;
use octet_openwrt::ubus::Ubus;
use octet_openwrt::verify::verify;
use octet_openwrt_double::http::Request;
use octet_openwrt_double::session::NOBODY;
use octet_openwrt_double::ubus::Answer;
use octet_openwrt_double::{Fault, Router};
use octet_router::plan::RouterPlan;
use serde_json::{Value, json};

/// A verb that reads a router.
type Ask = fn(&mut Ubus, &RouterPlan) -> Result<(), ApplyError>;

/// Of the requests of an apply, the one with a call of this method of `uci`.
fn request(router: Router, plan: &RouterPlan, method: &str) -> usize {
    let site = Site::start(router);
    site.0.count(None);
    apply(&mut site.ubus(), &DesiredConfig::Plan(plan), keep).unwrap();
    let name = format!("uci.{method}");
    site.0.requests().iter().position(|it| it.calls() == [name.as_str()]).unwrap()
}

/// The client that has applied it is cut off, and nobody confirms it. Reading is refused to each
/// verb until the router has rolled it back.
#[test]
fn looking_confirms_nothing() {
    let plan = plan(LINES);
    let first_look = request(router(), &plan, "apply") + 1;
    let verbs: [(&str, Ask); 4] = [
        ("read", |ubus, _| Ok(RouterState::read(ubus).map(drop)?)),
        ("diff", |ubus, plan| diff(ubus, plan).map(drop)),
        ("verify", |ubus, plan| verify(ubus, &DesiredConfig::Plan(plan)).map(drop)),
        ("apply", |ubus, plan| apply(ubus, &DesiredConfig::Plan(plan), keep).map(drop)),
    ];
    for (verb, ask) in verbs {
        let site = Site::start(router());
        let before = site.sections();
        site.0.count(Some((first_look, Fault::GoneBefore)));
        // It does not wait for the roll-back: no time passes for the router.
        let mut ubus = Ubus::new(site.https(), site.login(), Box::new(|_| ()));
        apply(&mut ubus, &DesiredConfig::Plan(&plan), keep).unwrap_err();
        assert_ne!(site.sections(), before);
        site.0.back();
        for seconds in [0, 10, 70] {
            site.0.pass(Duration::from_secs(seconds));
            let outcome = ask(&mut site.ubus(), &plan);
            assert!(
                site.0.with(|router| router.is_pending()),
                "`{verb}` has ended it: {outcome:?}"
            );
            let error = outcome.expect_err(verb);
            assert!(error.to_string().contains("waits to be confirmed"), "{verb}: {error}");
            let said = format!("{error}; {}", error.help());
            assert!(said.starts_with("a change that the login `octet` has applied"), "{said}");
            assert!(said.contains("in 90 s: the router has undone it by then"), "{said}");
        }
        site.0.pass(Duration::from_secs(10));
        assert_eq!(site.sections(), before, "{verb}");
        ask(&mut site.ubus(), &plan).unwrap_or_else(|error| panic!("{verb}: {error}"));
    }
}

/// The daemons apply nothing, and the request to undo the change is lost: waiting for the roll-back
/// does not confirm it.
#[test]
fn waiting_for_the_end_confirms_nothing() {
    let plan = plan(LINES);
    let deaf = || {
        let mut router = router();
        router.is_deaf = true;
        router
    };
    let rollback = request(deaf(), &plan, "rollback");
    for fault in [None, Some((rollback, Fault::DropBefore))] {
        let site = Site::start(deaf());
        let before = site.sections();
        site.0.count(fault);
        let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep);
        assert!(matches!(outcome, Ok(ApplyOutcome::Undone(_))), "{fault:?}: {outcome:?}");
        assert_eq!(site.sections(), before, "{fault:?}");
    }
}

fn call(router: &mut Router, sid: &str, method: &str, args: Value) -> Value {
    let object = if method == "login" { "session" } else { "uci" };
    match router.call(sid, object, method, args.as_object().unwrap()) {
        Answer::Result(0, value) => value.unwrap_or_default(),
        other => panic!("{method}: {other:?}"),
    }
}

/// Logs in with this name and password, and applies another change; returns its session.
fn applied_by(router: &mut Router, name: &str, password: &str) -> String {
    let login = json!({ "username": name, "password": password });
    let login = call(router, NOBODY, "login", login);
    let sid = login["ubus_rpc_session"].as_str().unwrap().to_owned();
    let add = json!({ "config": "network", "type": "interface", "name": "theirs", "values": { "proto": "none" } });
    call(router, &sid, "add", add);
    call(router, &sid, "apply", json!({ "rollback": true, "timeout": 90 }));
    sid
}

/// A read during another apply is repeated: all of it is old or all of it is new.
#[test]
fn a_read_starts_over_when_a_change_begins_meanwhile() {
    let has_theirs =
        |state: &RouterState| state.sections.iter().any(|it| it.name.as_deref() == Some("theirs"));
    // Before the daemons are asked: the configuration has been read by then.
    let mut other = router();
    other.meanwhile = Some(("network.device", |router| {
        applied_by(router, "root", "rootpw");
    }));
    let site = Site::start(other);
    let read = RouterState::read(&mut site.ubus());
    let error = read.map(|state| has_theirs(&state)).unwrap_err();
    let said = format!("{error}; {}", error.help());
    assert!(said.starts_with("a change that another login"), "{said}");
    assert!(said.contains("whoever has applied it"), "{said}");
    assert!(site.0.with(|router| router.is_pending()));
    site.0.pass(Duration::from_secs(90));
    assert!(!has_theirs(&RouterState::read(&mut site.ubus()).unwrap()));

    // The same login has applied something, and its session, which the router has given us, ends
    // the wait by undoing it: what is staged in it again is not part of the configuration.
    let site = Site::start(router());
    site.0.with(|router| {
        applied_by(router, "octet", "secret");
        router.meanwhile = Some(("uci", |router| router.pass(Duration::from_secs(90))));
    });
    let state = RouterState::read(&mut site.ubus()).unwrap();
    assert!(!has_theirs(&state) && !site.0.with(|router| router.is_pending()));
}

/// The session of the change has ended, and the change with it, when the same login applies another
/// one: the router returns that session to every new login, which must neither confirm nor undo its
/// change.
#[test]
fn what_another_has_applied_is_not_ended() {
    let site = Site::start(router());
    let plan = plan(LINES);
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |_| {
        site.0.with(|router| {
            router.meanwhile = Some(("network.interface", |router| {
                router.end_sessions();
                router.pass(Duration::from_secs(90));
                applied_by(router, "octet", "secret");
            }));
        });
        site.0.count(None);
        Ok(())
    });
    let calls: Vec<_> = site.0.requests().iter().flat_map(Request::calls).collect();
    assert!(calls.iter().any(|it| it == "uci.apply"), "{calls:?}");
    let ends = calls.iter().filter(|it| ["uci.confirm", "uci.rollback"].contains(&it.as_str()));
    assert_eq!(ends.count(), 0, "{outcome:?}");
    assert!(matches!(outcome, Ok(ApplyOutcome::Undone(_))), "{outcome:?}");
}

/// The router keeps our own change permanently, since its rpcd is killed while the change waits,
/// and its daemons apply nothing of it: the report says that it is there, and blames nobody else.
#[test]
fn ones_own_change_is_not_somebody_elses() {
    let plan = plan(LINES);
    let mut deaf = router();
    deaf.is_deaf = true;
    let site = Site::start(deaf);
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |_| {
        site.0.with(|router| {
            router.meanwhile = Some(("network.interface", Router::kill_rpcd));
        });
        Ok(())
    });
    let error = outcome.unwrap_err();
    let said = format!("{error}; {}", error.help());
    assert!(
        said.contains("has what is wanted, and does not undo it, but there is no interface"),
        "{said}"
    );
    assert!(said.contains("openwrt verify") && !said.contains("somebody else"), "{said}");
}
