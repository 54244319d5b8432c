//! Files that cannot be evaluated are refused with an error: the evaluator never guesses.

#![cfg(test)]

use octet_evaluator::{By, Traffic, Verdict, Version, World, Zone};

const GATE: &str = include_str!("../testdata/gate.toml");
const WEB: &str = include_str!("../testdata/web.toml");
const CACHE: &str = include_str!("../testdata/cache.toml");

fn read(rest: &str) -> Result<World, String> {
    World::read(&format!("[cluster]\nboards = 4\n{rest}"), &[GATE, WEB, CACHE])
}

#[test]
fn what_is_not_known() {
    let policy = "[[policy]]\nfrom = \"board-1\"\nto = \"board-2\"\n";
    let publish = "[[publish]]\nport = \"tcp/443\"\nto = \"board-3\"\n";
    read(&format!("{policy}protocol = \"mpls-in-ip\"")).unwrap();
    read(&format!("{policy}service = \"cache\"\n{publish}service = \"https\"")).unwrap();
    for (text, words) in [
        ("colour = 3".to_owned(), "[cluster]: what is `colour`?"),
        ("[[board]]\nnumber = 5".into(), "[[board]] 1: there is no board 5"),
        ("[[board]]\nnumber = 1\nmac = \"02:00\"".into(), "`02:00` is no Ethernet address"),
        (format!("{policy}service = \"cach\""), "no unit has a port `cach`"),
        (format!("{policy}service = \"http\""), "more than one unit has a port `http`"),
        (format!("{policy}service = \"cache\"\nprotocol = \"tcp\""), "neither a service"),
        (format!("{policy}protocol = \"tcp\""), "neither a service"),
        (format!("{policy}protocol = 6"), "protocol 6 cannot be named by number"),
        (format!("{policy}protocol = 43"), "protocol 43 cannot be named by number"),
        (format!("{policy}protocol = 137"), "protocol 137 cannot be named by number"),
        (
            format!("{}protocol = \"mpls-in-ip\"", policy.replace("board-2", "uplink")),
            "a plain link with uplink",
        ),
        (format!("{policy}protocol = 256"), "protocol 256 cannot be named by number"),
        (format!("{policy}protocol = \"tcp\"\nports = [\"9-8\"]"), "\"9-8\" is neither"),
        (format!("{policy}protocol = \"tcp\"\nports = [65536]"), "65536 is neither"),
        (format!("{policy}protocol = \"icmp\"\nrat = 3"), "[[policy]] 1: what is `rat`?"),
        ("[[policy]]\nfrom = \"lan\"\nto = \"boards\"\nprotocol = 47".into(), "there is no lan"),
        ("[[policy]]\nfrom = \"board-5\"\nto = \"boards\"\nprotocol = 47".into(), "no board-5"),
        ("[[policy]]\nfrom = \"board-01\"\nto = \"boards\"\nprotocol = 47".into(), "is no zone"),
        (publish.into(), "one of `service` and `at`"),
        (format!("{publish}at = \"udp/443\""), "tcp/443 cannot become udp/443"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
    for boards in [0, 3, 5, 64] {
        assert!(World::read(&format!("[cluster]\nboards = {boards}"), &[]).is_err());
    }
    assert!(World::read("[appliance]\nname = \"octet\"", &[]).is_err());
}

/// The policy in the released file.
#[test]
fn the_gate_opens_to_the_uplink_by_a_line() {
    let gate =
        |world: &World| world.verdict(Zone::Uplink, Zone::Router, Traffic::Tcp(4040), Version::V6);
    assert_eq!(gate(&read("").unwrap()).at(), None);
    let text = "[[policy]]\nfrom = \"uplink\"\nto = \"router\"\nservice = \"gate\"";
    let by = By::Policy(1);
    assert_eq!(gate(&read(text).unwrap()), Verdict::Arrives { at: Zone::Router, by });
}

/// Of two rules that allow the same, the first one is named; built-in rules precede those of the
/// file.
#[test]
fn the_first_line_is_named() {
    let line =
        "[[policy]]\nfrom = \"boards\"\nto = [\"router\", \"uplink\"]\nprotocol = \"icmp\"\n";
    let world = read(&line.repeat(2)).unwrap();
    for (to, by) in [(Zone::Router, By::BuiltIn("ping")), (Zone::Uplink, By::Policy(1))] {
        let verdict = world.verdict(Zone::Board(4), to, Traffic::Ping, Version::V4);
        assert_eq!(verdict, Verdict::Arrives { at: to, by });
    }
}
