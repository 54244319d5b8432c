//! Boards without a configured MAC address: a host becomes a board once it is reported that it has
//! requested an address at the port, and keeps the port, even if netd is restarted, until its link
//! goes down.

use std::collections::BTreeSet;
use std::time::Instant;

use octet_evaluator::{Probe as Asked, Traffic, Version, Zone};
use octet_machine::MachineError;
use octet_machine::panel::switchboard::ProbeOutcome;
use octet_tests::SOON;
use serde_json::{Value, json};

use crate::segments::change::change;
use crate::segments::site::{Site, probe, text};
use crate::segments::sweep::{expected, pairs};

const BOARDS: u8 = 4;

const LINES: &str = r#"
[[policy]]
from = ["boards", "lan", "uplink"]
to = ["boards", "lan", "uplink"]
protocol = "tcp"
ports = [8080]
"#;

/// The configured MAC address of a board.
fn mac(board: u8) -> String {
    octet_machine::panel::Mac::number(board).to_string()
}

impl Site {
    fn report(&self, board: u8, mac: &str) -> Result<Value, MachineError> {
        let args = json!({ "port": format!("eth{board}"), "mac": mac });
        self.machine.call_unit("netd", "plugged", args)
    }

    /// From now on the router sends nothing to these boards.
    fn strangers(&mut self, boards: &[u8]) {
        let legs: BTreeSet<_> = boards.iter().map(|it| self.leg(Zone::Board(*it))).collect();
        self.panel.quiet(legs);
    }

    /// All of `asked` without one of `strangers` must arrive as expected, and nothing from one of
    /// them.
    fn knows_all_but(&mut self, strangers: &[u8], asked: &[Asked]) {
        self.strangers(strangers);
        let is_strange = |zone: &Zone| strangers.iter().any(|it| Zone::Board(*it) == *zone);
        let from: Vec<_> = asked.iter().filter(|it| is_strange(&it.0)).copied().collect();
        let known: Vec<_> =
            asked.iter().filter(|it| !is_strange(&it.0) && !is_strange(&it.1)).copied().collect();
        let both = from.iter().chain(&known);
        let probes: Vec<_> = both.map(|asked| probe(&self.panel, *asked)).collect();
        let sentinels = self.sentinels();
        let came = self.panel.sweep(&probes, &sentinels).unwrap();
        let (of_strangers, of_known) = came.split_at(from.len());
        assert!(of_strangers.iter().all(|came| *came == ProbeOutcome::Dropped), "{of_strangers:?}");
        let mut arrived = 0;
        for (asked, came) in known.iter().zip(of_known) {
            let to = expected(&self.world, *asked).map(|zone| self.leg(zone));
            let out = to.map_or(ProbeOutcome::Dropped, ProbeOutcome::Out);
            assert_eq!(*came, out, "{asked:?}");
            arrived += usize::from(to.is_some());
        }
        println!(
            "strangers {strangers:?}: {} probes come to nothing, {arrived} arrive",
            from.len()
        );
        assert!(arrived >= 4);
    }

    /// Waits until `netd` shows board 1's link as `is_there`.
    fn wait_link(&self, is_there: bool) {
        let until = Instant::now() + SOON;
        loop {
            let shown = self.machine.call_unit("netd", "show", json!({})).unwrap();
            let drawn = shown["box"].to_string();
            let line = drawn.split("\",\"").find(|line| line.contains("eth1")).unwrap_or_default();
            if line.contains(&mac(1)) == is_there {
                return;
            }
            assert!(Instant::now() < until, "late: {drawn}");
        }
    }
}

#[test]
fn who_has_asked_at_a_port() {
    let text = text(BOARDS, LINES);
    let unsaid: String =
        text.lines().filter(|line| !line.starts_with("mac = ")).flat_map(|it| [it, "\n"]).collect();
    let mut site = Site::power_on(&unsaid, None);
    site.strangers(&[1, 2, 3, 4]);
    site.wait_ready();
    let mut asked = pairs(&site.world.zones(), &site.world.worth_a_probe());
    let is_about_lines = |what| matches!(what, Traffic::Tcp(8079..=8081) | Traffic::Ping);
    asked.retain(|(_, to, what, _)| *to != Zone::Router && is_about_lines(*what));
    site.knows_all_but(&[1, 2, 3, 4], &asked);
    for board in 1..BOARDS {
        site.report(board, &mac(board)).unwrap();
    }
    site.knows_all_but(&[4], &asked);

    // A binding cannot be replaced.
    for (board, other, why) in [(1, mac(9), mac(1)), (4, mac(2), "eth2".into())] {
        let refused = site.report(board, &other).unwrap_err().to_string();
        assert!(refused.contains(&why), "{refused}");
    }
    site.knows_all_but(&[4], &asked);
    site.machine.call("restart", json!({ "unit": "netd" })).unwrap();
    site.wait_ready();
    site.knows_all_but(&[4], &asked);

    // The cable is unplugged and plugged in again: it may be another host.
    for up in [false, true] {
        site.machine.qmp("set_link", json!({ "name": "wire1", "up": up })).unwrap();
        site.wait_link(false);
    }
    site.knows_all_but(&[1, 4], &asked);
    site.report(1, &mac(1)).unwrap();
    site.wait_link(true);
    site.knows_all_but(&[4], &asked);

    // A restarted netd that finds a binding in its rules whose link is down drops it.
    let link =
        |up: bool| site.machine.qmp("set_link", json!({ "name": "wire1", "up": up })).unwrap();
    site.machine.call("stop", json!({ "unit": "netd" })).unwrap();
    link(false);
    site.machine.call("start", json!({ "unit": "netd" })).unwrap();
    site.wait_ready();
    site.wait_link(false);
    link(true);
    site.knows_all_but(&[1, 4], &asked);

    // Without a box no zone reaches another. Then there is a box again, whose file has the MAC
    // addresses.
    let (alone, _) = text.split_once("[cluster]").unwrap();
    change(&site.machine, alone);
    let outside: Vec<_> = asked.iter().filter(|it| it.0 == Zone::Uplink).copied().collect();
    let probes: Vec<_> = outside.iter().map(|asked| probe(&site.panel, *asked)).collect();
    site.panel
        .quiet((0..site.panel.legs().len()).filter(|it| *it != site.leg(Zone::Uplink)).collect());
    let sentinels = site.sentinels();
    let came = site.panel.sweep(&probes, &sentinels).unwrap();
    assert!(came.iter().all(|came| *came == ProbeOutcome::Dropped), "{came:?}");
    assert!(outside.iter().any(|it| it.3 == Version::V6));
    site.change(&text);
    site.knows_all_but(&[], &asked);
}
