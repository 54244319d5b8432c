use super::*;
use crate::observed::{LinkCounters, LinkKind};
use octet_appliance::Appliance;
use proptest::prelude::*;

const FILE: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[network]\naddress = \"dhcp\"\n[cluster]\nboards = 4\n[[board]]\nnumber = 4\nmac = \"02:00:00:00:00:04\"\n";

fn plan() -> RouterPlan {
    let appliance = Appliance::parse("appliance.toml", FILE).unwrap();
    let settings = appliance.cluster_settings().unwrap();
    RouterPlan::new(&settings, &[]).unwrap()
}

/// The router's network cards; those in `up` have a carrier.
fn observed(up: &[u32], downs: u32) -> Observed {
    let link = |index: u32| NetworkDevice {
        index,
        name: format!("eth{index}"),
        kind: LinkKind::Ethernet([2, 0, 0, 0, 0, 100 + index as u8]),
        up: true,
        carrier: up.contains(&index),
        carrier_downs: downs,
        traffic: LinkCounters::default(),
    };
    Observed { links: (0..5).map(link).collect(), ..Observed::default() }
}

#[test]
fn the_first_is_held_until_his_link_goes_down() {
    let (plan, up) = (plan(), observed(&[0, 1, 2, 3, 4], 1));
    let mut plugged = PortBindings::default();
    let one = "02:00:00:00:00:01";
    let mac = |text: &str| Mac::try_from(text.to_owned()).unwrap();
    assert_eq!(plugged.report(&plan, &up, "eth1", one), Ok(true));
    assert_eq!(plugged.report(&plan, &up, "eth1", one), Ok(false));
    let other = "02:00:00:00:00:09";
    let held = Err(InvalidReport::Held(mac(one)));
    assert_eq!(plugged.report(&plan, &up, "eth1", other), held);
    let elsewhere =
        |at: &str, it: &str| Err(InvalidReport::Elsewhere { mac: mac(it), at: at.into() });
    assert_eq!(plugged.report(&plan, &up, "eth2", one), elsewhere("eth1", one));
    let said = "02:00:00:00:00:04";
    assert_eq!(plugged.report(&plan, &up, "eth2", said), elsewhere("eth4", said));
    let router = "02:00:00:00:00:65";
    assert_eq!(plugged.report(&plan, &up, "eth2", router), elsewhere("eth1", router));
    assert_eq!(plugged.report(&plan, &up, "eth4", other), Err(InvalidReport::Said(mac(said))));
    assert_eq!(plugged.report(&plan, &up, "eth4", said), Ok(false));
    for port in ["eth0", "eth5", "lo", ""] {
        let no_port = Err(InvalidReport::NoPort(port.into()));
        assert_eq!(plugged.report(&plan, &up, port, other), no_port);
    }
    for no_mac in ["ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "2:0:0:0:0:1", ""] {
        let refused = Err(InvalidReport::NoMac(no_mac.into()));
        assert_eq!(plugged.report(&plan, &up, "eth2", no_mac), refused);
    }
    assert_eq!(plugged.report(&plan, &observed(&[1], 1), "eth2", other), Err(InvalidReport::Down));

    // Nothing happened.
    assert!(!plugged.forget(Some(&plan), &up));
    // The link went down and came up again between two reads.
    let again = observed(&[0, 1, 2, 3, 4], 2);
    let mut short = plugged.clone();
    assert_eq!(short.report(&plan, &again, "eth1", other), Ok(true));
    assert!(plugged.forget(Some(&plan), &again));
    assert_eq!(plugged, PortBindings::default());
    // The link is down.
    assert!(short.forget(Some(&plan), &observed(&[2], 2)));
    // The node is not a router any more.
    let mut left = PortBindings::default();
    assert_eq!(left.report(&plan, &up, "eth1", one), Ok(true));
    assert!(left.forget(None, &up));
}

#[test]
fn a_netd_that_is_started_again_asks_for_the_same_link() {
    let device = LinkName::try_from("eth1".to_owned()).unwrap();
    let mac = Mac::try_from("02:00:00:00:00:01".to_owned()).unwrap();
    let mut plugged: PortBindings = [(device, BoundNode { mac, downs: 7 })].into_iter().collect();
    assert!(!plugged.forget(Some(&plan()), &observed(&[1], 7)));
    assert!(plugged.forget(Some(&plan()), &observed(&[1], 8)));
}

proptest! {
    /// Whatever is reported: no node is at two ports or is the router, and configured ports are as
    /// configured.
    #[test]
    fn nobody_is_in_two_places(reports in prop::collection::vec((0..6u32, 0..8u8, 0..3u32), 0..40)) {
        let plan = plan();
        let mut plugged = PortBindings::default();
        for (port, last, downs) in reports {
            let mac = format!("02:00:00:00:00:{:02x}", if last > 5 { 0x60 + last } else { last });
            let observed = observed(&[0, 1, 2, 3, 4], downs);
            let _ = plugged.report(&plan, &observed, &format!("eth{port}"), &mac);
            let macs: Vec<_> = plan.boards.iter().filter_map(|board| plugged.mac(board)).collect();
            let mut apart = macs.clone();
            apart.sort();
            apart.dedup();
            prop_assert_eq!(apart.len(), macs.len());
            prop_assert!(macs.iter().all(|mac| mac.bytes()[5] < 0x64));
            prop_assert_eq!(plugged.at(&plan.boards[3].device), None);
        }
    }
}
