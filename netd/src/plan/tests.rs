use super::*;
use crate::observed::{LinkCounters, NetworkDevice};
use octet_appliance::Cidr;
use proptest::prelude::*;

fn link(index: u32, kind: LinkKind, up: bool) -> NetworkDevice {
    NetworkDevice {
        index,
        name: format!("eth{index}"),
        kind,
        up,
        carrier: up,
        carrier_downs: 0,
        traffic: LinkCounters::default(),
    }
}

/// Loopback, two ports of the board, and a bridge that a program has made.
fn links(up: bool) -> Vec<NetworkDevice> {
    let port = |index| link(index, LinkKind::Ethernet([2, 0, 0, 0, 0, index as u8]), up);
    vec![link(1, LinkKind::Loopback, up), port(2), port(3), link(4, LinkKind::Other, false)]
}

fn address(link: u32, text: &str, seconds: Option<u32>) -> LinkAddress {
    let (address, prefix) = text.split_once('/').unwrap();
    let (address, prefix) = (address.parse().unwrap(), prefix.parse().unwrap());
    LinkAddress { link, address, prefix, seconds, is_sole: false }
}

fn cidr(text: &str) -> Cidr {
    Cidr::try_from(text.to_owned()).unwrap()
}

fn fixed(addresses: &[&str], gateways: &[&str]) -> NetworkSettings {
    let addresses = addresses.iter().map(|text| cidr(text)).collect();
    let gateways = gateways.iter().map(|text| text.parse().unwrap()).collect();
    let addressing = Addressing::Fixed { addresses, gateways };
    NetworkSettings { addressing, ..NetworkSettings::default() }
}

fn lease() -> UplinkLease {
    UplinkLease {
        address: cidr("192.0.2.50/24"),
        gateway: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        server: Ipv4Addr::new(192, 0, 2, 1).into(),
        until: Some(Duration::from_secs(3600)),
    }
}

/// A minimal simulation of the kernel.
fn carry_out(observed: &mut Observed, changes: &[PlanStep]) {
    for change in changes {
        match change {
            PlanStep::Up(index) => {
                for link in observed.links.iter_mut().filter(|link| link.index == *index) {
                    link.up = true;
                }
            }
            PlanStep::RemoveRoute(route) => observed.routes.retain(|other| other != route),
            PlanStep::RemoveAddress(address) => {
                observed.addresses.retain(|other| !is_same(other, address));
            }
            PlanStep::SetAddress(address) => {
                observed.addresses.retain(|other| !is_same(other, address));
                observed.addresses.push(address.clone());
            }
            PlanStep::AddRoute(route) => observed.routes.push(*route),
            PlanStep::AddRule(rule) => observed.rules.push(rule.clone()),
            PlanStep::RemoveRule(rule) => observed.rules.retain(|other| other != rule),
            PlanStep::AddDeadEnd(any) => observed.dead_ends.push(*any),
            PlanStep::RemoveDeadEnd(any) => observed.dead_ends.retain(|other| other != any),
            PlanStep::RemoveNeighbour(it) => observed.neighbours.retain(|other| other != it),
            PlanStep::SetNeighbour(it) => observed.neighbours.push(*it),
            PlanStep::Forward => observed.forwards = true,
        }
    }
}

const NOW: Duration = Duration::from_secs(100);

#[test]
fn a_new_box_gets_what_is_written() {
    let observed = Observed { links: links(false), ..Observed::default() };
    let settings = fixed(&["192.0.2.7/24", "2001:db8::7/64"], &["192.0.2.1", "fe80::1"]);
    let plan = KernelPlan::new(
        &settings,
        None,
        (&UplinkLeaseState::Unknown, &AdvertisementState::Unknown),
        &observed,
        NOW,
    );
    let route = |text: &str| PlanStep::AddRoute(KernelRoute::out(text.parse().unwrap(), 2));
    let expected = [
        PlanStep::Up(1),
        PlanStep::Up(2),
        PlanStep::Up(3),
        PlanStep::SetAddress(address(2, "192.0.2.7/24", None)),
        PlanStep::SetAddress(address(2, "2001:db8::7/64", None)),
        route("192.0.2.1"),
        route("fe80::1"),
    ];
    assert_eq!(plan.changes(&observed), expected);
}

#[test]
fn what_is_not_written_goes_first() {
    let mut observed = Observed { links: links(true), ..Observed::default() };
    observed.addresses = vec![
        address(1, "127.0.0.1/8", None),
        address(2, "192.0.2.9/24", None),
        address(2, "192.0.2.50/24", Some(900)),
        address(2, "fe80::1/64", None),
        address(3, "198.51.100.1/24", None),
        address(4, "203.0.113.1/24", None),
    ];
    observed.routes = vec![KernelRoute::out("192.0.2.254".parse().unwrap(), 2)];
    let settings = fixed(&["192.0.2.7/24"], &[]);
    let plan = KernelPlan::new(
        &settings,
        None,
        (&UplinkLeaseState::Unknown, &AdvertisementState::Unknown),
        &observed,
        NOW,
    );
    let expected = [
        PlanStep::RemoveRoute(observed.routes[0]),
        PlanStep::RemoveAddress(observed.addresses[1].clone()),
        PlanStep::RemoveAddress(observed.addresses[2].clone()),
        PlanStep::RemoveAddress(observed.addresses[4].clone()),
        PlanStep::SetAddress(address(2, "192.0.2.7/24", None)),
    ];
    assert_eq!(plan.changes(&observed), expected);
}

#[test]
fn a_lease_stays_until_more_is_known() {
    let mut observed = Observed { links: links(true), ..Observed::default() };
    observed.addresses = vec![address(2, "192.0.2.50/24", Some(3500))];
    observed.routes = vec![KernelRoute::out("192.0.2.1".parse().unwrap(), 2)];
    let settings = NetworkSettings::default();
    let changes = |leased: &UplinkLeaseState| {
        KernelPlan::new(&settings, None, (leased, &AdvertisementState::Unknown), &observed, NOW)
            .changes(&observed)
    };
    assert_eq!(changes(&UplinkLeaseState::Unknown), []);
    assert_eq!(changes(&UplinkLeaseState::Lease(lease())), []);
    let gone = [
        PlanStep::RemoveRoute(observed.routes[0]),
        PlanStep::RemoveAddress(observed.addresses[0].clone()),
    ];
    assert_eq!(changes(&UplinkLeaseState::Nothing), gone);
    // The lease has expired: with the address the kernel has removed the route.
    let over = Observed { addresses: vec![], ..observed.clone() };
    let plan = KernelPlan::new(
        &settings,
        None,
        (&UplinkLeaseState::Unknown, &AdvertisementState::Unknown),
        &over,
        NOW,
    );
    assert_eq!(plan.changes(&over), [PlanStep::RemoveRoute(over.routes[0])]);
    // Renewed: the kernel receives the new lifetime.
    let until = Some(Duration::from_secs(7300));
    let renewed = UplinkLeaseState::Lease(UplinkLease { until, ..lease() });
    let longer = PlanStep::SetAddress(address(2, "192.0.2.50/24", Some(7200)));
    assert_eq!(changes(&renewed), [longer]);
    let other = UplinkLeaseState::Lease(UplinkLease { address: cidr("192.0.2.51/24"), ..lease() });
    let set = PlanStep::SetAddress(address(2, "192.0.2.51/24", Some(3500)));
    assert_eq!(changes(&other), [PlanStep::RemoveAddress(observed.addresses[0].clone()), set]);
}

/// A router without an uplink (RFC 7084, G-4) is a route to the rest of the box (RFC 4191), within
/// its lifetime; a restarted netd keeps it until it hears more.
#[test]
fn a_box_without_a_way_out_is_reached() {
    let advertised = octet_node::links::RouterAdvertised {
        address: Some(cidr("fd6f:6374:6574:3::2/64")),
        address_seconds: Some(3600),
        gateway: None,
        gateway_seconds: 0,
        routes: vec![octet_node::links::AdvertisedRoute {
            to: cidr("fd6f:6374:6574::/48"),
            gateway: "fe80::1".parse().unwrap(),
            seconds: Some(300),
        }],
    };
    let mut observed = Observed { links: links(true), ..Observed::default() };
    let advert = AdvertisedAddress::check(&advertised, None, NOW).unwrap();
    let changes = |advertised: &AdvertisementState, observed: &Observed, now| {
        KernelPlan::new(
            &NetworkSettings::default(),
            None,
            (&UplinkLeaseState::Nothing, advertised),
            observed,
            now,
        )
        .changes(observed)
    };
    let router = AdvertisementState::Router(advert.clone());
    let route = KernelRoute {
        to: ("fd6f:6374:6574::".parse().unwrap(), 48),
        gateway: "fe80::1".parse().unwrap(),
        link: 2,
    };
    let wanted = [
        PlanStep::SetAddress(address(2, "fd6f:6374:6574:3::2/64", Some(3600))),
        PlanStep::AddRoute(route),
    ];
    let made = changes(&router, &observed, NOW);
    assert_eq!(made, wanted);
    carry_out(&mut observed, &made);
    assert_eq!(changes(&router, &observed, NOW), []);
    assert_eq!(changes(&AdvertisementState::Unknown, &observed, NOW), []);
    let end = NOW + Duration::from_secs(300);
    assert_eq!(advert.end(NOW), Some(end));
    assert_ne!(advert.clone().at(end), advert);
    let left = AdvertisementState::Router(advert.at(end));
    assert!(changes(&left, &observed, end).contains(&PlanStep::RemoveRoute(route)));
}

#[test]
fn the_link_may_be_named() {
    let observed = Observed { links: links(true), ..Observed::default() };
    let name = octet_appliance::LinkName::try_from("eth3".to_owned()).unwrap();
    let settings = NetworkSettings { link: Some(name), ..fixed(&["192.0.2.7/24"], &[]) };
    let plan = KernelPlan::new(
        &settings,
        None,
        (&UplinkLeaseState::Unknown, &AdvertisementState::Unknown),
        &observed,
        NOW,
    );
    assert_eq!(plan.addresses, [address(3, "192.0.2.7/24", None)]);
    // A bridge is not a port of the board, whatever its name.
    let name = octet_appliance::LinkName::try_from("eth4".to_owned()).unwrap();
    let settings = NetworkSettings { link: Some(name), ..fixed(&["192.0.2.7/24"], &[]) };
    let plan = KernelPlan::new(
        &settings,
        None,
        (&UplinkLeaseState::Unknown, &AdvertisementState::Unknown),
        &observed,
        NOW,
    );
    assert!(plan.addresses.is_empty() && plan.up == [1, 2, 3]);
}

/// Before a link is up, packets of the owner's devices have no route outside except the VPN's, and
/// none at all without the VPN's device; when the VPN is removed from the configuration, so are
/// these rules.
#[test]
fn the_lan_has_routes_of_its_own() {
    let text = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n[lan]\n";
    let appliance = octet_appliance::Appliance::parse("appliance.toml", text).unwrap();
    let settings = appliance.cluster_settings().unwrap();
    let plan = router::plan::RouterPlan::new(&settings, &[]).unwrap();
    let router = |vpn| router::plan::RouterPlan { vpn, ..plan.clone() };
    let plugged = PortBindings::default();
    let changes = |vpn, observed: &Observed| {
        let (router, network) = (router(vpn), NetworkSettings::default());
        let known = (&UplinkLeaseState::Unknown, &AdvertisementState::Unknown);
        KernelPlan::new(&network, Some((&router, &plugged)), known, observed, NOW).changes(observed)
    };
    let mut observed = Observed { links: links(false), forwards: true, ..Observed::default() };
    let on = changes(true, &observed);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (four, six) = (ip("0.0.0.0"), ip("::"));
    let inside = |network: &str, prefix| RoutingRule::inside("eth5", (ip(network), prefix));
    let expected = [
        PlanStep::AddDeadEnd(four),
        PlanStep::AddDeadEnd(six),
        PlanStep::AddRule(inside("10.20.0.0", 16)),
        PlanStep::AddRule(inside("fd6f:6374:6574::", 48)),
        PlanStep::AddRule(inside("fc00::", 8)),
        PlanStep::AddRule(RoutingRule::outside("eth5", four)),
        PlanStep::AddRule(RoutingRule::outside("eth5", six)),
        PlanStep::Up(1),
    ];
    assert_eq!(on[..8], expected);
    let rules: Vec<_> = expected[2..7]
        .iter()
        .filter_map(|it| match it {
            PlanStep::AddRule(rule) => Some((rule.priority, rule.table)),
            _ => None,
        })
        .collect();
    // Rules for networks inside come first.
    assert_eq!(rules, [(20_100, 254), (20_100, 254), (20_100, 254), (20_101, 201), (20_101, 201)]);
    carry_out(&mut observed, &on);
    let is_way = |it: &PlanStep| !matches!(it, PlanStep::Up(_) | PlanStep::SetAddress(_));
    assert_eq!(changes(true, &observed).into_iter().filter(is_way).count(), 0);
    let off: Vec<_> = changes(false, &observed).into_iter().filter(is_way).collect();
    assert_eq!(off.len(), 7);
    carry_out(&mut observed, &off);
    assert_eq!((observed.rules, observed.dead_ends), (vec![], vec![]));
}

fn any_settings() -> impl Strategy<Value = NetworkSettings> {
    let some =
        prop::sample::subsequence(vec!["192.0.2.7/24", "192.0.2.8/24", "2001:db8::7/64"], 0..4);
    prop_oneof![Just(NetworkSettings::default()), some.prop_map(|all| fixed(&all, &[]))]
}

fn any_observed() -> impl Strategy<Value = Observed> {
    let texts =
        vec!["192.0.2.7/24", "192.0.2.50/24", "192.0.2.9/25", "fe80::1/64", "2001:db8::9/64"];
    let one = (1u32..5, prop::sample::select(texts), prop::option::of(1u32..9000));
    let addresses = prop::collection::vec(one, 0..8);
    let gateways = prop::sample::subsequence(vec!["192.0.2.1", "192.0.2.2", "fe80::2"], 0..4);
    (any::<bool>(), addresses, gateways, 1u32..5).prop_map(|(up, addresses, gateways, index)| {
        let mut observed = Observed { links: links(up), ..Observed::default() };
        for (link, text, seconds) in addresses {
            let one = address(link, text, seconds);
            observed.addresses.retain(|other| !is_same(other, &one));
            observed.addresses.push(one);
        }
        observed.routes =
            gateways.iter().map(|text| KernelRoute::out(text.parse().unwrap(), index)).collect();
        observed
    })
}

proptest! {
    /// From any state, no changes remain once the planned ones are applied.
    #[test]
    fn it_settles(settings in any_settings(), mut observed in any_observed(), leased in 0..3) {
        let leased =
            [UplinkLeaseState::Unknown, UplinkLeaseState::Nothing, UplinkLeaseState::Lease(lease())][leased as usize].clone();
        let plan = KernelPlan::new(&settings, None, (&leased, &AdvertisementState::Unknown), &observed, NOW);
        let others: Vec<_> =
            observed.addresses.iter().filter(|it| [1, 4].contains(&it.link)).cloned().collect();
        let changes = plan.changes(&observed);
        carry_out(&mut observed, &changes);
        prop_assert_eq!(KernelPlan::new(&settings, None, (&leased, &AdvertisementState::Unknown), &observed, NOW).changes(&observed), []);
        // Devices that are not ports of the board are left alone.
        let after: Vec<_> =
            observed.addresses.iter().filter(|it| [1, 4].contains(&it.link)).cloned().collect();
        prop_assert_eq!(others, after);
        for wanted in &plan.addresses {
            prop_assert!(observed.addresses.iter().any(|there| is_same(there, wanted)));
        }
    }

    /// However often netd dies among its changes, a restart arrives at the same state.
    #[test]
    fn half_a_change_is_mended(
        settings in any_settings(), observed in any_observed(), cuts in prop::collection::vec(0usize..6, 0..4),
    ) {
        let leased = UplinkLeaseState::Unknown;
        let mut whole = observed.clone();
        let changes = KernelPlan::new(&settings, None, (&leased, &AdvertisementState::Unknown), &whole, NOW).changes(&whole);
        carry_out(&mut whole, &changes);
        let mut cut = observed;
        for count in cuts.into_iter().chain([usize::MAX]) {
            let changes = KernelPlan::new(&settings, None, (&leased, &AdvertisementState::Unknown), &cut, NOW).changes(&cut);
            carry_out(&mut cut, &changes[..count.min(changes.len())]);
        }
        let sorted = |mut observed: Observed| {
            observed.addresses.sort_by_key(|it| (it.link, it.address, it.prefix));
            observed.routes.sort_by_key(|it| it.gateway);
            observed
        };
        prop_assert_eq!(sorted(cut), sorted(whole));
    }
}
