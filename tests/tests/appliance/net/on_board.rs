//! Units of one board reach each other's ports only if a unit file permits it.

use octet_machine::{Machine, UnitState};
use octet_tests::{READY, Remake, guest};

use crate::net::guest::show;

/// The ports of the unit `web`, at all addresses of the board itself.
const DOORS: [&str; 5] = [
    "tcp/127.0.0.1:80",
    "tcp/[::1]:80",
    "tcp/192.0.2.7:80",
    "udp/127.0.0.1:5000",
    "udp/192.0.2.7:5000",
];

/// A unit that tests all of these ports, and succeeds if the result is as expected.
fn knocker(name: &str, user: &str, does: &str, more: &str) -> String {
    let args: Vec<&str> = [does].into_iter().chain(DOORS).collect();
    format!(
        "name = \"{name}\"\ntype = \"one-shot\"\nexec = \"/usr/lib/octet/knock\"\nuser = \"{user}\"\n\
         after = [\"web\", \"netd\"]\nargs = {args:?}\n{more}\n\
         [start]\ntimeout = \"10m\"\n[restart]\npolicy = \"never\"\n[sandbox]\nnetwork = \"host\"\n"
    )
}

/// Adds the units, whose addresses are those of `net::scan`.
pub fn with_knockers(remake: Remake) -> Remake {
    let both = "reaches.web = [\"http\", \"echo\"]";
    remake
        .program("knock", &guest("knock"))
        .unit(&knocker("friend", "extra-2", "all", both))
        .unit(&knocker("stranger", "extra-3", "none", ""))
        // The unit has a port of its own, which does not permit it those of others.
        .unit(&knocker("namesake", "extra-4", "none", "ports.http = \"tcp/8081\""))
}

/// Units have reached what their files name, and nothing else.
pub fn have_knocked(machine: &Machine) {
    let status = machine
        .wait_status("all have knocked", READY, |status| {
            let is_over = |name| {
                let state = status.unit(name).map(|unit| unit.state);
                matches!(state, Some(UnitState::Exited | UnitState::Failed))
            };
            ["friend", "stranger", "namesake"].into_iter().all(is_over)
        })
        .unwrap();
    for name in ["friend", "stranger", "namesake"] {
        let state = status.unit(name).unwrap().state;
        assert_eq!(state, UnitState::Exited, "{name}: {}", machine.tail(60));
    }
    let rules = show(machine)["rules"].to_string();
    let denied = rules.split("counter denied_on_board {").nth(1).unwrap();
    // nft's format: `packets N bytes M`.
    let denied = denied.split("packets ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let denied: usize = denied.parse().unwrap();
    assert!(denied >= 2 * DOORS.len(), "{denied}");
}
