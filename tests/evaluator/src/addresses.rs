//! The table "Zones and addresses" of docs/segments.md.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::traffic::Version;
use crate::world::World;
use crate::zone::Zone;

/// The number of the network of `lan`.
const LAN: u8 = 250;

/// The address of a host outside: addresses for documentation (RFC 5737, RFC 3849), and
/// alternatives for a box that uses these itself.
const OUTSIDE: [&str; 2] = ["198.51.100.2", "203.0.113.2"];
const OUTSIDE6: [&str; 2] = ["2001:db8:ffff::2", "3fff::2"];

impl World {
    /// The network of a board or of `lan`, with its prefix length.
    pub fn network(&self, zone: Zone, version: Version) -> Option<(IpAddr, u8)> {
        let length = match version {
            Version::V4 => 24,
            Version::V6 => 64,
        };
        Some((self.inside(zone, version, 0)?, length))
    }

    /// The router's address in the network of a board or of `lan`; on the uplink the first fixed
    /// address in `[network]`.
    pub fn router_in(&self, zone: Zone, version: Version) -> Option<IpAddr> {
        if zone == Zone::Uplink {
            let mut own = self.cluster.own.iter().copied();
            return own.find(|address| address.is_ipv4() == (version == Version::V4));
        }
        self.inside(zone, version, 1)
    }

    /// The address of a board, or of a host in `lan` or outside. The router has no address of its
    /// own (see [`router_in`](Self::router_in)), nor has `path`.
    pub fn address(&self, zone: Zone, version: Version) -> Option<IpAddr> {
        if zone == Zone::Uplink {
            let all = if version == Version::V4 { OUTSIDE } else { OUTSIDE6 };
            let mut all = all.iter().filter_map(|address| address.parse().ok());
            return all.find(|address| self.zone_of(*address) == Some(Zone::Uplink));
        }
        self.inside(zone, version, 2)
    }

    /// The link-local address of a board whose MAC address is configured (RFC 4291, appendix A).
    pub fn link_local(&self, board: u8) -> Option<Ipv6Addr> {
        let board = self.cluster.boards.iter().find(|its| its.number == board)?;
        let [a, b, c, d, e, f] = board.mac?;
        let group = |high, low| u16::from_be_bytes([high, low]);
        let end = [group(a ^ 0b10, b), group(c, 0xff), group(0xfe, d), group(e, f)];
        Some(Ipv6Addr::new(0xfe80, 0, 0, 0, end[0], end[1], end[2], end[3]))
    }

    /// The zone of an address by the address alone; `None` if no host may have it. Link-local
    /// addresses are excluded: their zone depends on the port.
    pub fn zone_of(&self, address: IpAddr) -> Option<Zone> {
        let version = if address.is_ipv4() { Version::V4 } else { Version::V6 };
        if self.zones().iter().any(|zone| self.router_in(*zone, version) == Some(address))
            || self.cluster.own.contains(&address)
        {
            return Some(Zone::Router);
        }
        let mut boards = (1..=self.boards()).map(Zone::Board);
        if let Some(board) = boards.find(|board| self.address(*board, version) == Some(address)) {
            return Some(board);
        }
        match address {
            IpAddr::V4(four) => self.zone_of_other(four),
            IpAddr::V6(six) => self.zone_of_other6(six),
        }
    }

    fn zone_of_other(&self, address: Ipv4Addr) -> Option<Zone> {
        let [a, b, third, last] = address.octets();
        // This network, multicast, and reserved addresses.
        let group = a == 0 || a >= 224;
        if [a, b] == self.cluster.network {
            let lan = third == LAN && last != 0 && last != 255 && self.has(Zone::Lan);
            return lan.then_some(Zone::Lan);
        }
        let nobody = group || address.is_loopback();
        (!nobody).then_some(Zone::Uplink)
    }

    fn zone_of_other6(&self, address: Ipv6Addr) -> Option<Zone> {
        let groups = address.segments();
        if groups[..3] == self.cluster.network6 {
            let lan = groups[3] == u16::from(LAN) && self.has(Zone::Lan);
            return lan.then_some(Zone::Lan);
        }
        let nobody = address.is_multicast()
            || address.is_loopback()
            || address.is_unspecified()
            || address.to_ipv4_mapped().is_some()
            // Addresses of nodes, which are reached by paths.
            || groups[0] >> 8 == 0xfc
            || address.is_unicast_link_local();
        (!nobody).then_some(Zone::Uplink)
    }

    /// Whether the receiver sees the router's uplink address as the sender.
    pub fn masquerades(&self, from: Zone, to: Zone, version: Version) -> bool {
        let inside = matches!(from, Zone::Board(_) | Zone::Lan);
        inside && to == Zone::Uplink && version == Version::V4
    }

    fn inside(&self, zone: Zone, version: Version, last: u8) -> Option<IpAddr> {
        let number = match zone {
            Zone::Board(number) => number,
            Zone::Lan => LAN,
            Zone::Router | Zone::Uplink | Zone::Path => return None,
        };
        if !self.has(zone) {
            return None;
        }
        let [a, b] = self.cluster.network;
        let [d, e, f] = self.cluster.network6;
        Some(match version {
            Version::V4 => Ipv4Addr::new(a, b, number, last).into(),
            Version::V6 => Ipv6Addr::new(d, e, f, number.into(), 0, 0, 0, last.into()).into(),
        })
    }
}
