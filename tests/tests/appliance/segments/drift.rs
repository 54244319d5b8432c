//! Another program changes netd's rules: netd reports and repairs that.

use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_tests::{READY, SOON, guest, shipped};
use serde_json::{Value, json};

use crate::segments::site::{Site, remake, text};
use crate::segments::sweep::{expected, pairs};

const LINES: &str = r#"
[[policy]]
from = "board-1"
to = "board-2"
protocol = "tcp"
ports = [8080]
"#;

/// A privileged unit that makes a change at each of its starts.
fn meddler(name: &str, exec: &str, args: &[&str]) -> String {
    format!(
        "name = \"{name}\"\ntype = \"one-shot\"\nexec = \"{exec}\"\nuser = \"root\"\nargs = {args:?}\n\
         after = [\"netd\", \"modules\"]\n[sandbox]\nnetwork = \"host\"\nread = [\"/\"]\nwrite = [\"/\"]\n\
         capabilities = [\"NET_ADMIN\"]\n"
    )
}

/// The changes, and whether they are visible in netd's answer.
const MEDDLERS: [(&str, &str, &[&str]); 4] = [
    ("flush", "/usr/sbin/nft", &["flush", "ruleset"]),
    ("one-rule", "/usr/sbin/nft", &["flush", "chain", "inet", "octet_fw", "forward"]),
    ("stop-4", "/usr/lib/octet/put", &["/proc/sys/net/ipv4/ip_forward", "0"]),
    ("stop-6", "/usr/lib/octet/put", &["/proc/sys/net/ipv6/conf/all/forwarding", "0"]),
];

/// A change of another daemon's table, which each time appends a rule to it.
const THEIRS: (&str, &str, &[&str]) = (
    "theirs",
    "/usr/sbin/nft",
    &[
        "add table inet octet_forward; add chain inet octet_forward a; add rule inet octet_forward a counter",
    ],
);

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn what_somebody_else_changes_is_put_right() {
    let text = text(4, LINES);
    let image = remake(&shipped(), &text).program("put", &guest("put"));
    let image = MEDDLERS
        .iter()
        .chain([&THEIRS])
        .fold(image, |image, (name, exec, args)| image.unit(&meddler(name, exec, args)))
        .image();
    let mut site = Site::of(&image, &text, None, None);
    site.wait_ready();
    let mut asked = pairs(&site.world.zones(), &site.world.worth_a_probe());
    // All allowed probes, and one in 20 of the denied ones.
    let mut others = (0..).map(|number| number % 20 == 0);
    asked.retain(|asked| expected(&site.world, *asked).is_some() || others.next().unwrap_or(false));
    let alarms = |shown: &Value| shown["alarms"]["count"].as_u64().unwrap();
    let mut shown = site.shown();
    for (name, ..) in MEDDLERS {
        let before = alarms(&shown);
        let is_nft = ["flush", "one-rule"].contains(&name);
        // The change at the start of the machine may have happened already or not.
        restart(&site, name);
        // Waits until it is reported and repaired: no packet shows that.
        let until = Instant::now() + READY;
        shown = site.shown();
        while (is_nft && alarms(&shown) == before) || !is_whole(&shown) {
            assert!(
                Instant::now() < until,
                "late: {name}: {shown}, {:?}",
                site.machine.logs("netd")
            );
            sleep(Duration::from_millis(100));
            shown = site.shown();
        }
        println!("{name}: {}", shown["alarms"]);
        let swept = site.sweep(&asked);
        swept.must_be_right(&site);
        shown = swept.shown;
    }
    // The kernel reports changes in order: netd has ignored this one when the next is reported.
    let before = alarms(&shown);
    restart(&site, THEIRS.0);
    restart(&site, MEDDLERS[0].0);
    let until = Instant::now() + READY;
    while alarms(&shown) == before || !is_whole(&shown) {
        assert!(Instant::now() < until, "late: {shown}");
        sleep(Duration::from_millis(100));
        shown = site.shown();
    }
    assert_eq!(alarms(&shown), before + 1);
    let log = site.machine.logs("netd").unwrap().join("\n");
    assert!(log.contains("ALARM: nft (process "), "{log}");
}

/// Makes the unit repeat its change.
fn restart(site: &Site, name: &str) {
    site.machine.call("restart", json!({ "unit": name })).unwrap();
    let done = site.machine.wait_status(name, SOON, |status| {
        status.unit(name).is_some_and(|unit| unit.state == octet_machine::UnitState::Exited)
    });
    done.unwrap_or_else(|error| panic!("{name}: {error}\n{:?}", site.machine.logs(name)));
}

/// Whether the rules are complete, by a rule at the end, and packets are forwarded.
fn is_whole(shown: &Value) -> bool {
    let rules = shown["rules"].to_string();
    let chain = rules.split("chain forward {").nth(1).unwrap_or_default();
    let chain = chain.split("chain ").next().unwrap_or_default();
    let has_rules = chain.contains("goto refuse") && rules.contains("goto refuse_own");
    has_rules && shown["forwards"] == true
}
