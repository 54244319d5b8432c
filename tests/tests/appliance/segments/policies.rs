//! Random boxes, applied one after the other to one running router, and the final state of such a
//! router.

use std::time::{Duration, Instant};

use fastrand::Rng;
use octet_control::file::LocalFile;
use octet_tests::seed;
use serde_json::{Value, json};

use crate::segments::chance;
use crate::segments::site::Site;
use crate::segments::sweep::{blurred, pairs};

/// The number of boards of the largest box: the router has as many cards.
const BOARDS: u8 = 8;
const LAN: &str = "eth9";

const COUNT: usize = 200;

#[test]
#[ignore = "long: `segments::pairs` changes what a router has, and netd's own tests have policies by chance"]
fn policies_by_chance() {
    println!("{COUNT} policies");
    let mut chance = Rng::with_seed(seed());
    let mut site = Site::start(&chance::text(BOARDS, Some(LAN), &mut chance));
    // The zones include those that some of the boxes lack: hosts at their ports have no rights.
    let zones = site.world.zones();
    let (mut sent, mut arrived, mut exempt) = (0, 0, 0);
    let mut longest = Duration::ZERO;
    for number in 1..=COUNT {
        let boards = if chance.u8(..4) == 0 { BOARDS } else { 4 };
        let lan = (chance.u8(..4) > 0).then_some(LAN);
        let text = chance::text(boards, lan, &mut chance);
        let began = Instant::now();
        site.change(&text);
        longest = longest.max(began.elapsed());
        let traffic = chance::traffic(&site.world, &mut chance);
        let mut asked = pairs(&zones, &traffic);
        let all = asked.len();
        // Flows of earlier policies that this one allows continue.
        asked.retain(|asked| blurred(&site.world, *asked).is_none());
        exempt += all - asked.len();
        let swept = site.sweep(&asked);
        if !swept.wrong.is_empty() {
            println!("policy {number}:\n{text}");
        }
        swept.must_be_right(&site);
        sent += swept.sent;
        arrived += swept.arrived;
    }
    is_a_whole(&site, BOARDS);
    println!(
        "{sent} probes, {arrived} arrive, {exempt} more cannot be told; longest change {longest:?}"
    );
    assert!(arrived > 10 * COUNT && arrived < sent);
}

/// The incrementally changed rules equal those that a restarted netd installs as a whole, and the
/// configuration for another kind of router is equal as well. The router has as many cards as a box
/// of `boards`.
pub fn is_a_whole(site: &Site, boards: u8) {
    let by_bits = listed(site);
    site.machine.call("restart", json!({ "unit": "netd" })).unwrap();
    site.wait_ready();
    assert_eq!(by_bits, listed(site));
    let log = site.machine.logs("netd").unwrap().join("\n");
    assert!(!log.contains("nft refused"), "{log}");
    said_to_openwrt(site, boards);
}

/// netd's changes for a router with OpenWrt: a conflict is reported and refused first; without it
/// the commands are returned.
fn said_to_openwrt(site: &Site, boards: u8) {
    let stock = include_str!("../../../../netd/router/tests/testdata/openwrt/stock.txt");
    let ports: String = (1..=boards + 2).map(|n| format!("\tlist ports 'eth{n}'\n")).collect();
    let stock = stock.replace("\tlist ports @all\n", &ports).replace("'wan'", "'eth0'");
    let ask = |text: &str, commands: bool| {
        let mut file = LocalFile::Memory(text.as_bytes().to_vec());
        let args = json!({ "commands": commands });
        site.machine.send_file_with("netd", "openwrt", args, "router", &mut file)
    };
    let report = ask(&stock, false).unwrap();
    assert!(report.to_string().contains("Conflicts, for you to resolve first"), "{report}");
    let refused = ask(&stock, true).unwrap_err().to_string();
    assert!(refused.contains("is on the whole switch"), "{refused}");
    let told = ask(&stock.replace("device 'br-lan'", "device 'br-lan.1'"), true).unwrap();
    let told = told["commands"].as_array().unwrap();
    assert!(told.iter().any(|it| it == "set firewall.octet_zone_1.name='o_board1'"), "{told:?}");
}

/// The rules as nft lists them, without counters and recent next hops, and with sorted elements.
fn listed(site: &Site) -> Vec<String> {
    let shown = site.machine.call_unit("netd", "show", json!({})).unwrap();
    let lines = shown["rules"].as_array().unwrap().iter().filter_map(Value::as_str);
    let mut passing = false;
    let lines = lines.filter(|line| {
        passing |= line.trim().starts_with("set near");
        let stays = !passing;
        passing &= line.trim() != "}";
        stays
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let without_counts = text.split("packets ").enumerate().map(|(number, rest)| match number {
        0 => rest,
        _ => rest.trim_start_matches(|it: char| it.is_ascii_digit() || " bytes".contains(it)),
    });
    let text: String = without_counts.collect();
    let ordered = text.split("elements = {").enumerate().flat_map(|(number, rest)| {
        let (elements, rest) = if number == 0 { ("", rest) } else { rest.split_once('}').unwrap() };
        let mut elements: Vec<_> = elements.split(',').map(|it| it.trim().to_owned()).collect();
        elements.sort_unstable();
        elements.extend(rest.lines().map(|line| line.trim().to_owned()));
        elements
    });
    let listed: Vec<_> = ordered.collect();
    assert!(listed.len() > 100, "{listed:?}");
    listed
}
