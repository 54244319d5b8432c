//! Half-applied changes: only one of the files is new, or the firewall does not know the interfaces
//! yet.

use std::io;

use crate::apply::keep;
use crate::site::{LINES, Site, plan, router};
use octet_openwrt::apply::{ApplyOutcome, apply};
use octet_openwrt::desired::DesiredConfig;
use octet_openwrt::diff::diff;
use octet_openwrt::missing::missing;
use octet_openwrt::state::RouterState;
use octet_openwrt::verify::verify;

/// OpenWrt's firewall makes a zone of an unknown interface, but jumps to it from nowhere.
#[test]
fn it_is_done_when_the_firewall_knows_the_interfaces() {
    let mut early = router();
    early.is_early = true;
    let site = Site::start(early);
    let (plan, mut ubus) = (plan(LINES), site.ubus());
    assert_eq!(apply(&mut ubus, &DesiredConfig::Plan(&plan), keep).unwrap(), ApplyOutcome::Applied);
    let mut state = RouterState::read(&mut ubus).unwrap();
    for hook in ["input", "forward", "output"] {
        let jumps = state.live.rules.matches(&format!("jump {hook}_o_")).count();
        assert_eq!(jumps, 9, "{hook}");
    }
    // Chains remain when zones are removed.
    assert_eq!(apply(&mut ubus, &DesiredConfig::Nothing, keep).unwrap(), ApplyOutcome::Applied);
    assert_eq!(apply(&mut ubus, &DesiredConfig::Plan(&plan), keep).unwrap(), ApplyOutcome::Applied);
    assert_eq!(RouterState::read(&mut ubus).unwrap().live.rules, state.live.rules);

    // A jump to another chain, and one of another zone.
    let (wanted, _) = DesiredConfig::Plan(&plan).change(&state).unwrap();
    for (from, to) in [
        ("\"br-lan.1003\" jump forward_o_board3", "\"br-lan.1004\" jump forward_o_board3"),
        ("jump output_o_board3 ", "jump output_o_board30 "),
    ] {
        assert_eq!(missing(&wanted, &state.live), [""; 0]);
        let rules = state.live.rules.replace(from, to);
        let rules = std::mem::replace(&mut state.live.rules, rules);
        let found = missing(&wanted, &state.live);
        assert!(found.len() == 1 && found[0].contains("zone o_board3"), "{found:?}");
        state.live.rules = rules;
    }
}

/// The power is cut after one file was written: the change is completed.
#[test]
fn a_cut_between_two_files_is_finished() {
    let plan = plan(LINES);
    let whole = {
        let site = Site::start(router());
        apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap();
        site.sections()
    };
    let cut = |_: &RouterState, site: &Site| -> io::Result<()> {
        site.0.with(|router| router.is_cut_between = true);
        Ok(())
    };
    let site = Site::start(router());
    let before = site.sections();
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |state| cut(state, &site));
    assert_eq!(outcome.unwrap(), ApplyOutcome::Applied);
    assert_eq!(site.sections(), whole);
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Nothing, |state| cut(state, &site));
    assert_eq!(outcome.unwrap(), ApplyOutcome::Applied);
    assert_eq!(site.sections(), before);

    // If the daemons do not apply it, the error names the half that is there, and the next apply
    // succeeds.
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |state| {
        site.0.with(|router| router.is_deaf = true);
        cut(state, &site)
    });
    let error = outcome.unwrap_err();
    let said = format!("{error}; {}", error.help());
    let half = "`dhcp` is as wanted, `firewall` and `network` are as before";
    assert!(said.contains(half) && said.contains("openwrt apply"), "{said}");
    assert!(site.sections() != whole && site.sections() != before);
    // A later client receives the same report.
    let told = "`dhcp` has octet_board_1, octet_board_2";
    for lines in
        [diff(&mut site.ubus(), &plan), verify(&mut site.ubus(), &DesiredConfig::Plan(&plan))]
    {
        let lines = lines.unwrap();
        assert_eq!(lines.iter().filter(|it| it.contains(told)).count(), 1);
    }
    site.0.with(|router| router.is_deaf = false);
    assert_eq!(
        apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), keep).unwrap(),
        ApplyOutcome::Applied
    );
    assert_eq!(site.sections(), whole);
    let lines = diff(&mut site.ubus(), &plan).unwrap();
    assert!(!lines.iter().any(|it| it.contains("octet_board_1")));
}
