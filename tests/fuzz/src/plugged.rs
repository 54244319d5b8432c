//! What the unit `lan` reports of who is plugged in, and what the kernel says of flows and rules.

use std::collections::BTreeSet;

use octet_appliance::{Appliance, Mac, Segments};
use octet_netd::observed::{LinkCounters, LinkKind, NetworkDevice, Observed};
use octet_netd::plugged::PortBindings;
use octet_netd::router::plan::RouterPlan;
use octet_netd::{conntrack, generation};

const FILE: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\n\
                    modules = []\nservices = []\n[network]\naddress = \"dhcp\"\n[cluster]\n\
                    boards = 4\n[[board]]\nnumber = 4\nmac = \"02:00:00:00:00:04\"\n";

/// Reports, a line each: the device, the Ethernet address, and how the links are then. Nobody is at two
/// ports or is the router, no port that the file speaks of is anybody else's, who holds a port holds it until
/// its link was down, and what is not taken changes nothing. Messages of the kernel panic nobody.
pub fn plugged(bytes: &[u8]) {
    let _ = conntrack::read(bytes);
    let _ = generation::EarlyNotice::default().take(bytes);
    let appliance = Appliance::parse("appliance.toml", FILE).expect("it is right");
    let settings = appliance.cluster_settings().expect("it has a cluster");
    let (segments, _) = Segments::evaluate(&settings, &[], ("", FILE)).expect("it has no lines");
    let plan = RouterPlan::new(&settings, &segments, &[]);
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

/// The router's cards have addresses like this one.
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 100];

/// The router's cards: bit N of `links` says that something is at the other end of card N, those from bit 8 on
/// how often it was not.
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
