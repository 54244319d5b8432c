//! Links, addresses, routes and neighbours by rtnetlink(7): reads the kernel's state, and applies
//! single changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use octet_appliance::VPN_TABLE;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, CacheInfo};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Error, Handle, IpVersion, LinkUnspec, RouteMessageBuilder};

use crate::observed::{
    KernelRoute, LinkAddress, LinkCounters, LinkKind, NetworkDevice, Observed, PROTOCOL,
    RoutingRule, StaticNeighbour,
};
use crate::plan::PlanStep;

/// The kernel's lifetime value of an address that does not expire.
const FOR_EVER: u32 = u32::MAX;

/// Sysctls that enable forwarding (Documentation/networking/ip-sysctl.rst).
const FORWARDING: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// `ENODEV`, `EADDRNOTAVAIL`, `ESRCH` and `ENOENT`: what was to be removed does not exist any more.
const GONE: [i32; 4] = [19, 99, 3, 2];

/// Reads everything that netd needs from the kernel.
///
/// # Errors
/// The kernel refuses, or the connection to it is broken.
pub(super) async fn observe(handle: &Handle) -> Result<Observed, Error> {
    let links: Vec<_> = handle.link().get().execute().try_collect().await?;
    let addresses: Vec<_> = handle.address().get().execute().try_collect().await?;
    let (mut routes, mut dead_ends, mut rules) = (vec![], vec![], vec![]);
    for version in [IpVersion::V4, IpVersion::V6] {
        let found: Vec<RuleMessage> = handle.rule().get(version).execute().try_collect().await?;
        rules.extend(found.iter().filter_map(rule));
    }
    for all in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let found: Vec<RouteMessage> = handle.route().get(all).execute().try_collect().await?;
        routes.extend(found.iter().filter_map(route));
        dead_ends.extend(found.iter().filter_map(dead_end));
    }
    Ok(Observed {
        links: links.iter().filter_map(link).collect(),
        addresses: addresses
            .iter()
            .filter_map(|message| {
                let mut found = LinkAddress {
                    link: message.header.index,
                    address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    prefix: message.header.prefix_len,
                    seconds: None,
                    is_sole: false,
                };
                let (mut local, mut peer) = (None, None);
                for attribute in &message.attributes {
                    match attribute {
                        AddressAttribute::Local(address) => local = Some(*address),
                        AddressAttribute::Address(address) => peer = Some(*address),
                        AddressAttribute::CacheInfo(info) if info.ifa_valid != FOR_EVER => {
                            found.seconds = Some(info.ifa_valid);
                        }
                        _ => {}
                    }
                }
                // IPv6 has only one of the two attributes here, IPv4 has both.
                found.address = local.or(peer)?;
                Some(found)
            })
            .collect(),
        routes,
        rules,
        dead_ends,
        neighbours: neighbours(handle).await?,
        forwards: FORWARDING.iter().all(|file| std::fs::read(file).is_ok_and(|it| it == b"1\n")),
    })
}

/// Static neighbour entries, without those learned by neighbour discovery.
async fn neighbours(handle: &Handle) -> Result<Vec<StaticNeighbour>, Error> {
    let all: Vec<NeighbourMessage> = handle.neighbours().get().execute().try_collect().await?;
    let permanent = all.iter().filter(|it| it.header.state == NeighbourState::Permanent);
    Ok(permanent.filter_map(neighbour).collect())
}

fn neighbour(message: &NeighbourMessage) -> Option<StaticNeighbour> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::V4(*ip));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                address = Some(IpAddr::V6(*ip));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok();
            }
            _ => {}
        }
    }
    Some(StaticNeighbour { link: message.header.ifindex, address: address?, mac: mac? })
}

fn link(message: &LinkMessage) -> Option<NetworkDevice> {
    let (mut name, mut mac, mut made) = (None, None, false);
    let (mut carrier_downs, mut traffic) = (0, LinkCounters::default());
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            // Only devices that a program has made have a kind.
            LinkAttribute::LinkInfo(_) => made = true,
            LinkAttribute::CarrierDownCount(count) => carrier_downs = *count,
            LinkAttribute::Stats64(all) => {
                traffic = LinkCounters {
                    received: all.rx_packets,
                    received_bytes: all.rx_bytes,
                    sent: all.tx_packets,
                    sent_bytes: all.tx_bytes,
                };
            }
            _ => {}
        }
    }
    let header = &message.header;
    let kind = match (header.link_layer_type, mac) {
        (LinkLayerType::Loopback, _) => LinkKind::Loopback,
        (LinkLayerType::Ether, Some(mac)) if !made => LinkKind::Ethernet(mac),
        _ => LinkKind::Other,
    };
    Some(NetworkDevice {
        index: header.index,
        name: name?,
        kind,
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        carrier_downs,
        traffic,
    })
}

/// A route of netd's own.
fn route(message: &RouteMessage) -> Option<KernelRoute> {
    let header = &message.header;
    if header.protocol != RouteProtocol::from(PROTOCOL) {
        return None;
    }
    // A default route has no destination attribute.
    let (mut to, mut gateway, mut link) = (any(header.address_family)?, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                gateway = Some(IpAddr::V4(*address));
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => {
                gateway = Some(IpAddr::V6(*address));
            }
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = (*address).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = (*address).into(),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    let to = (to, header.destination_prefix_length);
    Some(KernelRoute { to, gateway: gateway?, link: link? })
}

/// The unspecified address of the IP version of `family`.
fn any(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

/// The final unreachable route of the VPN's table, if netd has set it.
fn dead_end(message: &RouteMessage) -> Option<IpAddr> {
    let header = &message.header;
    let is_ours = header.protocol == RouteProtocol::from(PROTOCOL) && header.table == VPN_TABLE;
    let is_end = header.kind == RouteType::Unreachable && header.destination_prefix_length == 0;
    any(header.address_family).filter(|_| is_ours && is_end)
}

/// A rule of netd's own.
fn rule(message: &RuleMessage) -> Option<RoutingRule> {
    let header = &message.header;
    let (mut device, mut to, mut priority, mut is_ours) = (None, any(header.family)?, 0, false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Iifname(name) => device = Some(name.clone()),
            RuleAttribute::Destination(address) => to = *address,
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Protocol(of) => is_ours = *of == RouteProtocol::from(PROTOCOL),
            _ => {}
        }
    }
    let (to, table) = ((to, header.dst_len), header.table);
    Some(RoutingRule { device: device?, to, priority, table }).filter(|_| is_ours)
}

fn rule_message(rule: &RoutingRule) -> RuleMessage {
    let (to, prefix) = rule.to;
    let mut message = RuleMessage::default();
    message.header.family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.dst_len = prefix;
    message.header.table = rule.table;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Iifname(rule.device.clone()),
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
    ];
    message.attributes.extend((prefix > 0).then_some(RuleAttribute::Destination(to)));
    message
}

fn dead_end_message(any: IpAddr) -> RouteMessage {
    let mut message = match any {
        IpAddr::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        IpAddr::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    message.header.kind = RouteType::Unreachable;
    message.header.table = VPN_TABLE;
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    // The lowest priority: every other route in the table is preferred.
    message.attributes.push(RouteAttribute::Priority(u32::MAX));
    message
}

/// Applies one change.
///
/// # Errors
/// The kernel refuses, or the connection to it is broken.
pub(super) async fn apply(handle: &Handle, change: &PlanStep) -> Result<(), Error> {
    match change {
        PlanStep::Up(index) => {
            let message = LinkUnspec::new_with_index(*index).up().build();
            handle.link().set(message).execute().await
        }
        PlanStep::SetAddress(address) => {
            let add = handle.address().add(address.link, address.address, address.prefix);
            let mut add = add.replace();
            if address.is_sole {
                let flags = AddressAttribute::Flags(AddressFlags::Nodad);
                add.message_mut().attributes.push(flags);
            }
            if let Some(seconds) = address.seconds {
                let mut info = CacheInfo::default();
                (info.ifa_preferred, info.ifa_valid) = (seconds, seconds);
                add.message_mut().attributes.push(AddressAttribute::CacheInfo(info));
            }
            add.execute().await
        }
        PlanStep::RemoveAddress(address) => {
            let add = handle.address().add(address.link, address.address, address.prefix);
            let message = { add }.message_mut().clone();
            gone_is_well(handle.address().del(message).execute().await)
        }
        PlanStep::AddRule(rule) => {
            let mut add = handle.rule().add();
            *add.message_mut() = rule_message(rule);
            add.execute().await
        }
        PlanStep::RemoveRule(rule) => {
            gone_is_well(handle.rule().del(rule_message(rule)).execute().await)
        }
        PlanStep::AddDeadEnd(any) => {
            handle.route().add(dead_end_message(*any)).replace().execute().await
        }
        PlanStep::RemoveDeadEnd(any) => {
            gone_is_well(handle.route().del(dead_end_message(*any)).execute().await)
        }
        PlanStep::AddRoute(route) => handle.route().add(message(route)).replace().execute().await,
        PlanStep::SetNeighbour(it) => {
            let add = handle.neighbours().add(it.link, it.address).link_layer_address(&it.mac);
            add.state(NeighbourState::Permanent).replace().execute().await
        }
        PlanStep::RemoveNeighbour(it) => {
            let add = handle.neighbours().add(it.link, it.address);
            let message = { add }.message_mut().clone();
            gone_is_well(handle.neighbours().del(message).execute().await)
        }
        PlanStep::Forward => {
            let refused = |error: std::io::Error| Error::NamespaceError(error.to_string());
            FORWARDING.iter().try_for_each(|file| std::fs::write(file, "1")).map_err(refused)
        }
        PlanStep::RemoveRoute(route) => {
            gone_is_well(handle.route().del(message(route)).execute().await)
        }
    }
}

/// Adds a neighbour entry in the state `stale`: the kernel uses it at once, and verifies it after
/// the first packet.
///
/// # Errors
/// The kernel refuses, or the connection to it is broken.
pub(super) async fn introduce(handle: &Handle, it: &StaticNeighbour) -> Result<(), Error> {
    let add = handle.neighbours().add(it.link, it.address).link_layer_address(&it.mac);
    add.state(NeighbourState::Stale).replace().execute().await
}

fn message(route: &KernelRoute) -> RouteMessage {
    let protocol = RouteProtocol::from(PROTOCOL);
    let (to, prefix) = route.to;
    let builder4 = RouteMessageBuilder::<Ipv4Addr>::new();
    let builder6 = RouteMessageBuilder::<Ipv6Addr>::new();
    match route.gateway {
        IpAddr::V4(gateway) => {
            let builder = match to {
                IpAddr::V4(to) if prefix > 0 => builder4.destination_prefix(to, prefix),
                _ => builder4,
            };
            let mut message =
                builder.gateway(gateway).output_interface(route.link).protocol(protocol).build();
            // An address with a 32-bit prefix has no network that contains the gateway; whether the
            // gateway may be used was checked before.
            message.header.flags |= RouteFlags::Onlink;
            message
        }
        IpAddr::V6(gateway) => {
            let builder = match to {
                IpAddr::V6(to) if prefix > 0 => builder6.destination_prefix(to, prefix),
                _ => builder6,
            };
            builder.gateway(gateway).output_interface(route.link).protocol(protocol).build()
        }
    }
}

fn gone_is_well(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::NetlinkError(error)) if GONE.contains(&-error.raw_code()) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::link::{InfoKind, LinkInfo};

    /// Devices and routes of the unit `forward` (docs/ARCHITECTURE.md): netd's plan concerns
    /// neither.
    #[test]
    fn devices_and_routes_of_another_daemon_are_its_own() {
        let device = |name: &str, made: Option<InfoKind>, layer| {
            let mut message = LinkMessage::default();
            message.header.link_layer_type = layer;
            let said = [
                LinkAttribute::IfName(name.into()),
                LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            ];
            message.attributes.extend(said);
            let info = made.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
            message.attributes.extend(info);
            link(&message).unwrap().kind
        };
        let port = device("eth0", None, LinkLayerType::Ether);
        assert_eq!(port, LinkKind::Ethernet([2, 0, 0, 0, 0, 1]));
        for (name, kind, layer) in [
            ("fwg", InfoKind::Wireguard, LinkLayerType::None),
            ("fl1", InfoKind::IpIp, LinkLayerType::Tunnel),
            ("fin", InfoKind::Dummy, LinkLayerType::Ether),
        ] {
            assert_eq!(device(name, Some(kind), layer), LinkKind::Other, "{name}");
        }

        let default = |protocol: u8| {
            let mut message = message(&KernelRoute::out([192, 0, 2, 1].into(), 2));
            message.header.protocol = RouteProtocol::from(protocol);
            route(&message)
        };
        assert!(default(PROTOCOL).is_some());
        assert_eq!(default(202), None);
    }

    /// Routes are read back as they were set, so they are not set again.
    #[test]
    fn routes_come_back() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let inside = (ip("fd6f:6374:6574::"), 48);
        for one in [
            KernelRoute::out(ip("192.0.2.1"), 2),
            KernelRoute::out(ip("fe80::1"), 2),
            KernelRoute { to: inside, gateway: ip("fe80::1"), link: 2 },
            KernelRoute { to: (ip("192.0.2.0"), 24), gateway: ip("198.51.100.1"), link: 2 },
        ] {
            assert_eq!(route(&message(&one)), Some(one));
        }
    }

    /// Rules are read back as they were set; those of other programs are ignored.
    #[test]
    fn rules_and_the_end_of_the_table_come_back() {
        let any = ["0.0.0.0", "::"].map(|text| text.parse::<IpAddr>().unwrap());
        let inside: IpAddr = "10.20.0.0".parse().unwrap();
        for one in any
            .map(|any| RoutingRule::outside("eth9", any))
            .into_iter()
            .chain([RoutingRule::inside("eth9", (inside, 16))])
        {
            let mut message = rule_message(&one);
            assert_eq!(rule(&message), Some(one));
            message.attributes.retain(|it| !matches!(it, RuleAttribute::Protocol(_)));
            assert_eq!(rule(&message), None);
        }
        for any in any {
            let mut message = dead_end_message(any);
            assert_eq!((dead_end(&message), route(&message)), (Some(any), None));
            message.header.protocol = RouteProtocol::from(202);
            assert_eq!(dead_end(&message), None);
        }
    }
}
