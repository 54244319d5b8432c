//! Every fault at every request of an apply: in the end all of the router is old or all of it is
//! new, it accepts a new session, and the owner's sections are unchanged.

use std::time::Duration;

use crate::site::{HEAD, LINES, Site, plan_of, router, set_up};
use octet_openwrt::apply::{ApplyOutcome, apply};
use octet_openwrt::desired::DesiredConfig;
use octet_openwrt::state::RouterState;
use octet_openwrt_double::http::Request;
use octet_openwrt_double::{Fault, Router};
use octet_router::plan::RouterPlan;

/// Longer than a roll-back and the work of the daemons take.
const LONG: Duration = Duration::from_secs(300);

/// The requests of an apply without faults.
fn steps(plan: &RouterPlan, files: &[(&str, &str)]) -> Vec<String> {
    let site = Site::start(with(files));
    site.0.count(None);
    let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(plan), |_| Ok(())).unwrap();
    assert_eq!(outcome, ApplyOutcome::Applied);
    let step = |request: &Request| {
        let calls = request.calls();
        match &calls[..] {
            [call] => call.clone(),
            [first, .., last] => format!("{first} to {last} ({})", calls.len()),
            [] => String::new(),
        }
    };
    site.0.requests().iter().map(step).collect()
}

/// A router with these files, contacted from the owner's own port. Its daemons are quick, so that
/// they are checked twice and not five times.
fn with(files: &[(&str, &str)]) -> Router {
    let mut router = Router::with(files);
    router.delay = 5;
    set_up(&mut router);
    router
}

/// The short tier tests two of the faults at each request, and each fault at some. All of them take
/// a quarter of a minute: a router is brought to another plan a hundred times, over TLS, by
/// unoptimised code.
#[test]
fn every_fault_at_every_request() {
    let is_long = std::env::var_os("OCTET_SOAK").is_some();
    let few = Fault::ALL.len() / 2;
    // A small box, so that it does not take long. Sections are added, changed and removed, and
    // staging them takes two requests.
    let head = HEAD
        .replace("boards = 8", "boards = 4")
        .replace(", \"lan5\", \"lan6\", \"lan7\", \"lan8\"", "");
    let earlier = LINES.replace("4433", "4434").replace("rate = 100", "rate = 50");
    let ports: Vec<_> = (0..19).map(|it| (2000 + 2 * it).to_string()).collect();
    let more = format!(
        "[[policy]]\nfrom = \"boards\"\nto = \"boards\"\nprotocol = \"tcp\"\nports = [{}]\n",
        ports.join(", ")
    );
    let lines = format!("{LINES}{more}");
    let [earlier, plan] = [&earlier, &lines].map(|lines| plan_of(&head, lines));
    let old_router = {
        let site = Site::start(router());
        apply(&mut site.ubus(), &DesiredConfig::Plan(&earlier), |_| Ok(())).unwrap();
        ["network", "firewall", "dhcp"].map(|file| (file, site.0.with(|it| it.file(file))))
    };
    let new = {
        let site = Site::start(router());
        apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |_| Ok(())).unwrap();
        site.sections()
    };
    let files: Vec<_> = old_router.iter().map(|(file, text)| (*file, text.as_str())).collect();
    let steps = steps(&plan, &files);
    let staging = steps.iter().filter(|step| step.contains("uci.add")).count();
    assert!(staging >= 2, "{steps:?}");
    println!("{:44} {}", "", Fault::ALL.map(|fault| format!("{fault:?}")).join("  "));
    let (mut olds, mut news) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        let mut line = format!("{number:2} {step:41}");
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            let width = format!("{fault:?}").len() + 2;
            if !is_long && place % few != number % few {
                line += &format!(" {:width$}", "");
                continue;
            }
            let site = Site::start(with(&files));
            let old = site.sections();
            assert_eq!(old[1], new[1]);
            site.0.count(Some((number, fault)));
            let outcome = apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |_| Ok(()));
            // A later client: a new login, on another connection.
            site.0.back();
            site.0.pass(LONG);
            let state = RouterState::read(&mut site.ubus());
            let state = state.unwrap_or_else(|error| panic!("{step}, {fault:?}: {error}"));
            let is_waiting = site.0.with(|router| router.is_pending());
            assert!(!is_waiting, "{step}, {fault:?}: {outcome:?}");
            let now = site.sections();
            assert_eq!(now[1], old[1], "{step}, {fault:?}: the owner's");
            assert_eq!(state.ours().len(), now[0].len());
            let is_new = now[0] == new[0];
            assert!(is_new || now[0] == old[0], "{step}, {fault:?}: neither old nor new");
            // The reported outcome is true.
            let said = match &outcome {
                Ok(ApplyOutcome::Applied) => {
                    assert!(is_new, "{step}, {fault:?}: {outcome:?}");
                    "new"
                }
                Ok(ApplyOutcome::Undone(_)) => {
                    assert!(!is_new, "{step}, {fault:?}: {outcome:?}");
                    "old"
                }
                Ok(ApplyOutcome::Nothing) => panic!("{step}, {fault:?}: there was something to do"),
                Err(_) if is_new => "new*",
                Err(_) => "old*",
            };
            let is_known = !matches!(fault, Fault::GoneBefore | Fault::GoneAfter);
            assert!(!is_known || outcome.is_ok(), "{step}, {fault:?}: {outcome:?}");
            // The next apply succeeds.
            if !is_new {
                let again =
                    apply(&mut site.ubus(), &DesiredConfig::Plan(&plan), |_| Ok(())).unwrap();
                assert_eq!(again, ApplyOutcome::Applied, "{step}, {fault:?}");
                assert_eq!(site.sections(), new, "{step}, {fault:?}");
            }
            olds += usize::from(!is_new);
            news += usize::from(is_new);
            line += &format!(" {said:width$}");
        }
        println!("{}", line.trim_end());
    }
    println!("{} cases: {olds} old, {news} new; *: an error was told", olds + news);
    assert_eq!(olds + news, steps.len() * if is_long { Fault::ALL.len() } else { 2 });
    assert!(olds > 0 && news > 0);
}
