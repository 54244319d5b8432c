//! A full flash: the router answers that it has applied files of which it has written only a part.

use crate::apply::keep;
use crate::site::{LINES, Site, plan, router, set_up};
use octet_openwrt::apply::{ApplyOutcome, apply};
use octet_openwrt::desired::DesiredConfig;
use octet_openwrt_double::Router;
use octet_openwrt_double::http::Request;

/// The size of all files.
fn length(router: &Router) -> usize {
    ["dhcp", "firewall", "network", "system", "wireless", "rpcd", "uhttpd"]
        .map(|it| router.file(it).len())
        .iter()
        .sum()
}

/// Wherever writing stops, the change is not confirmed, because each file is read back. This holds
/// for a new plan, and for one that is removed, where the daemons would run the desired state
/// anyway.
#[test]
fn a_flash_that_is_full() {
    let plan = plan(LINES);
    for wanted in [DesiredConfig::Nothing, DesiredConfig::Plan(&plan)] {
        let (mut undone, mut cut, mut applied) = (0, 0, 0);
        for room in [700, 0, 9000, 100_000] {
            let site = Site::start(router());
            if matches!(wanted, DesiredConfig::Nothing) {
                let first = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap();
                assert_eq!(first, ApplyOutcome::Applied);
            }
            let before = site.sections();
            site.0.with(|router| router.flash = Some(length(router) + room));
            site.0.count(None);
            let outcome = apply(&mut site.ubus(), &wanted, keep);
            let calls: Vec<_> = site.0.requests().iter().flat_map(Request::calls).collect();
            let is_confirmed = calls.iter().any(|it| it == "uci.confirm");
            let is_before = site.sections() == before;
            let said = match outcome {
                Ok(ApplyOutcome::Applied) => {
                    assert!(is_confirmed && site.sections()[1] == before[1], "{room}");
                    applied += 1;
                    continue;
                }
                Ok(ApplyOutcome::Undone(why)) => {
                    assert!(is_before, "{room}: {why}");
                    undone += 1;
                    why
                }
                // Each file is restored alone, beside those that have grown.
                Err(error) => {
                    assert!(!is_before && error.help().contains("a copy of what was there"));
                    cut += 1;
                    error.to_string()
                }
                Ok(ApplyOutcome::Nothing) => panic!("there was something to do"),
            };
            let is_said = said.contains("sections of `/etc/config/");
            assert!(is_said && said.contains("`df /overlay`"), "{room}: {said}");
            assert!(!is_confirmed, "{room}: {said}");
            assert!(!site.0.with(|router| router.is_pending()));
        }
        println!("{undone} undone, {cut} cut off, {applied} applied");
        assert!(undone > 0 && applied > 0);
    }
}

/// The roll-back overwrites each file in place, and the flash may have less room by then: the
/// outcome must not claim that everything is as before.
#[test]
fn a_flash_that_is_too_full_to_go_back() {
    let plan = plan(LINES);
    let site = Site::start(router());
    let before = site.sections();
    site.0.with(|router| {
        router.flash = Some(length(router) + 1000);
        // After the change, and before its end: another program fills the flash.
        router.meanwhile = Some(("network.interface", |router| {
            router.meanwhile = Some(("network.interface", |router| {
                router.flash = Some(length(router) / 2);
            }));
        }));
    });
    let error = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap_err();
    let said = format!("{error}; {}", error.help());
    assert!(said.contains("`df /overlay`") && said.contains("a copy of what was there"), "{said}");
    assert_ne!(site.sections(), before);
}

/// A part of `dhcp`, which affects no rule or interface, is lost when a plan is removed: the
/// running state is as desired.
#[test]
fn what_does_not_run_is_read_back() {
    let plan = plan(LINES);
    let firewall = "config defaults\n\toption input 'REJECT'\n\n\
        config zone\n\toption name 'lan'\n\tlist network 'lan'\n\n\
        config zone\n\toption name 'wan'\n\tlist network 'wan'\n\n";
    let mut small = Router::with(&[("network", &router().file("network")), ("firewall", firewall)]);
    set_up(&mut small);
    let site = Site::start(small);
    assert_eq!(
        apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap(),
        ApplyOutcome::Applied
    );
    let before = site.sections();
    site.0.with(|router| router.flash = Some(length(router) + 200));
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Nothing, keep).unwrap();
    let is_said =
        matches!(&outcome, ApplyOutcome::Undone(why) if why.contains("`/etc/config/dhcp`"));
    assert!(is_said && site.sections() == before, "{outcome:?}");
}
