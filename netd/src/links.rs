//! The link states that netd reports to units which talk to the nodes behind them.

use std::net::IpAddr;

use octet_appliance::{Addressing, Cidr, LinkName, Mac, Zone};
use octet_node::links::{LeadsTo, Link, LinkTraffic, Links, PlannedSegment};

use crate::config::NetworkConfig;
use crate::observed::{self, Observed};
use crate::plan;
use crate::router;

/// The present links, and the purpose of each.
pub fn links(config: &NetworkConfig, observed: &Observed) -> Links {
    let name = plan::uplink(&config.network, config.router.as_ref());
    let out = observed.uplink(name).map(|link| (link, uplink(config, observed, link)));
    let segments = config.router.iter().flat_map(router::plan::RouterPlan::segments);
    let segments = segments.filter_map(|segment| {
        let link = observed.links.iter().find(|link| link.name == segment.device.as_str())?;
        let there = PlannedSegment {
            number: segment.number,
            router: segment.router,
            board: segment.board,
            mac: segment.mac,
        };
        let leads_to = match segment.zone {
            Zone::Board(_) => LeadsTo::Board(there),
            _ => LeadsTo::Lan(there),
        };
        Some((link, leads_to))
    });
    let links = out.into_iter().chain(segments);
    let links = links.filter_map(|(link, leads_to)| reported(link, leads_to)).collect();
    Links { is_board: config.is_board, links }
}

/// The traffic counters of each link that is a port; `links` say which board is behind which port.
pub fn passed(links: &Links, observed: &Observed) -> Vec<LinkTraffic> {
    let leads_to = |name: &str| {
        links.links.iter().find(|link| link.name.as_str() == name).map(|link| &link.leads_to)
    };
    let ports = observed.links.iter().filter(|link| link.mac().is_some());
    let passed = ports.map(|link| LinkTraffic {
        link: link.name.clone(),
        board: match leads_to(&link.name) {
            Some(LeadsTo::Board(segment)) => Some(segment.number),
            _ => None,
        },
        uplink: matches!(leads_to(&link.name), Some(LeadsTo::Out { .. })),
        carrier: link.carrier,
        received: link.traffic.received,
        received_bytes: link.traffic.received_bytes,
        sent: link.traffic.sent,
        sent_bytes: link.traffic.sent_bytes,
    });
    passed.collect()
}

fn uplink(config: &NetworkConfig, observed: &Observed, link: &observed::NetworkDevice) -> LeadsTo {
    let own = observed.addresses.iter().filter(|it| it.link == link.index);
    let routes = observed.routes.iter().filter(|it| it.link == link.index && it.is_out());
    let is_of_link =
        |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    LeadsTo::Out {
        asks: config.network.addressing == Addressing::Dhcp,
        addresses: own
            .filter(|it| !is_of_link(it.address))
            .filter_map(|it| Cidr::new(it.address, it.prefix).ok())
            .collect(),
        gateways: routes.map(|route| route.gateway).collect(),
    }
}

fn reported(link: &observed::NetworkDevice, leads_to: LeadsTo) -> Option<Link> {
    Some(Link {
        index: link.index,
        name: LinkName::try_from(link.name.clone()).ok()?,
        mac: Mac::new(link.mac()?)?,
        carrier: link.carrier,
        downs: link.carrier_downs,
        leads_to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{LinkCounters, LinkKind};

    #[test]
    fn what_has_passed_which_port() {
        let link = |index, name: &str, kind| observed::NetworkDevice {
            index,
            name: name.into(),
            kind,
            up: true,
            carrier: index == 2,
            carrier_downs: 0,
            traffic: LinkCounters { received: 1, received_bytes: 60, sent: 2, sent_bytes: 120 },
        };
        let mac = [2, 0, 0, 0, 0, 7];
        let observed = Observed {
            links: vec![
                link(1, "lo", LinkKind::Loopback),
                link(2, "eth1", LinkKind::Ethernet(mac)),
                link(3, "eth9", LinkKind::Ethernet(mac)),
            ],
            ..Observed::default()
        };
        let router = ("10.20.4.1".parse().unwrap(), "fd00::1".parse().unwrap());
        let segment = PlannedSegment { number: 4, router, board: None, mac: None };
        let config = Link {
            index: 2,
            name: LinkName::try_from("eth1".to_owned()).unwrap(),
            mac: Mac::new(mac).unwrap(),
            carrier: true,
            downs: 0,
            leads_to: LeadsTo::Board(segment),
        };
        let out = LeadsTo::Out { asks: true, addresses: vec![], gateways: vec![] };
        let uplink = Link {
            name: LinkName::try_from("eth9".to_owned()).unwrap(),
            leads_to: out,
            ..config.clone()
        };
        let passed = passed(&Links { is_board: false, links: vec![config, uplink] }, &observed);
        let [first, second] = &passed[..] else { panic!("{passed:?}") };
        assert_eq!((first.link.as_str(), first.board, first.carrier), ("eth1", Some(4), true));
        assert_eq!((first.received_bytes, first.sent), (60, 2));
        assert_eq!((second.link.as_str(), second.board, second.carrier), ("eth9", None, false));
        assert_eq!((first.uplink, second.uplink), (false, true));
    }
}
