//! Reports of the unit `lan` about the hosts at the ports, and the kernel's messages about flows
//! and rules.

use std::collections::BTreeSet;

use octet_appliance::{Appliance, Mac};
use octet_netd::observed::{LinkCounters, LinkKind, NetworkDevice, Observed};
use octet_netd::port_bindings::PortBindings;
use octet_netd::router::plan::RouterPlan;
use octet_netd::{conntrack, generation};

const FILE: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\n\
                    modules = []\nservices = []\n[network]\naddress = \"dhcp\"\n[cluster]\n\
                    boards = 4\n[[board]]\nnumber = 4\nmac = \"02:00:00:00:00:04\"\n";

/// The input has a report per line: the device, the MAC address, and the states of the links. No
/// host is at two ports or has the MAC address of the router's first card, no port with a
/// configured address is bound to another, a binding persists until its link was down, and a
/// refused report changes nothing. Messages of the kernel cause no panic.
pub fn plugged(bytes: &[u8]) {
    let _ = conntrack::read(bytes);
    let _ = generation::EarlyNotice::default().take(bytes);
    let appliance = Appliance::parse("appliance.toml", FILE).expect("it is right");
    let settings = appliance.cluster_settings().expect("it has a cluster");
    let plan = RouterPlan::new(&settings, &[]).expect("it has no policies");
    let mut plugged = PortBindings::default();
    for line in String::from_utf8_lossy(bytes).lines().take(64) {
        let mut words = line.split(' ');
        let (device, mac) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let links = words.next().and_then(|it| it.parse().ok()).unwrap_or(0x1f_u32);
        let observed = observed(links);
        let before = plugged.clone();
        let taken = plugged.report(&plan, &observed, device, mac);
        assert!(taken == Ok(true) || plugged == before, "{line}: {taken:?}");
        for board in &plan.boards {
            let (held, was) = (plugged.at(&board.device), before.at(&board.device));
            assert!(board.mac.is_none() || held.is_none());
            assert!(held == was || was.is_none_or(|was| was.downs != links >> 8), "{line}");
        }
        let macs: Vec<Mac> = plan.boards.iter().filter_map(|board| plugged.mac(board)).collect();
        assert_eq!(macs.iter().collect::<BTreeSet<_>>().len(), macs.len(), "{line}");
        assert!(macs.iter().all(|mac| mac.bytes() != ROUTER && mac.bytes()[0] & 1 == 0), "{line}");
        if links & 0x20 != 0 {
            plugged.forget(Some(&plan), &observed);
        }
    }
}

/// The MAC address of the router's first card; those of the other cards differ in the last byte.
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 100];

/// The router's cards: bit N of `links` is the carrier of card N, and the bits from 8 on are the
/// number of times that the carrier was lost.
fn observed(links: u32) -> Observed {
    let link = |index: u32| NetworkDevice {
        index,
        name: format!("eth{index}"),
        kind: LinkKind::Ethernet([2, 0, 0, 0, 0, 100 + index as u8]),
        up: true,
        carrier: links & 1 << index != 0,
        carrier_downs: links >> 8,
        traffic: LinkCounters::default(),
    };
    Observed { links: (0..5).map(link).collect(), ..Observed::default() }
}
