//! The addresses that are assigned at an interface, and the options.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use octet_openwrt_double::uci::{Package, Section};

use super::message::Question;

/// Options (RFC 2132).
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const NAMES: u8 = 6;
const WISH: u8 = 50;
const TIME: u8 = 51;
const KIND: u8 = 53;
const SERVER: u8 = 54;

/// Message types (RFC 2132, 9.6).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// The lease time in seconds: 1 h, as the box's sections configure it.
const LEASE: u32 = 3600;

/// The assigned addresses, by MAC address in lower case.
type Given = BTreeMap<String, Ipv4Addr>;

/// The configuration of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pool {
    pub device: String,
    own: Ipv4Addr,
    mask: Ipv4Addr,
    /// The first dynamic address as a number, and the end (exclusive).
    free: (u32, u32),
    hosts: Given,
}

impl Pool {
    /// The configuration in this section; `None` if there is no such interface, or it is to be
    /// ignored.
    pub fn of(section: &Section, dhcp: &Package, network: &Package) -> Option<Self> {
        let interface = network.section(section.one("interface")?)?;
        if section.one("dhcpv4") != Some("server") || interface.one("proto") != Some("static") {
            return None;
        }
        let (own, prefix) = interface.one("ipaddr")?.split_once('/')?;
        let (own, prefix): (Ipv4Addr, u32) = (own.parse().ok()?, prefix.parse().ok()?);
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        let [start, limit] = ["start", "limit"].map(|key| section.one(key)?.parse::<u32>().ok());
        let first = (own.to_bits() & mask) + start?;
        let host = |it: &Section| {
            let ip: Ipv4Addr = it.one("ip")?.parse().ok()?;
            let is_here = (ip.to_bits() ^ own.to_bits()) & mask == 0;
            is_here.then_some((it.one("mac")?.to_lowercase(), ip))
        };
        Some(Self {
            device: interface.one("device")?.to_owned(),
            own,
            mask: Ipv4Addr::from_bits(mask),
            free: (first, first + limit?),
            hosts: dhcp.sections.iter().filter(|it| it.kind == "host").filter_map(host).collect(),
        })
    }

    /// The answer to `question`, if any; `given` persists between calls.
    pub fn answer(&self, question: &Question<'_>, given: &mut Given) -> Option<Vec<u8>> {
        if question.address(SERVER).is_some_and(|it| it != self.own) {
            return None;
        }
        let gives = self.address(question.mac(), given);
        let wish = question.address(WISH).unwrap_or(question.has());
        let kind = match question.option(KIND)? {
            [DISCOVER] if gives.is_some() => OFFER,
            [REQUEST] if gives == Some(wish) => ACK,
            [REQUEST] => NAK,
            _ => return None,
        };
        let (own, mask) = (self.own.octets(), self.mask.octets());
        let mut options: Vec<(u8, &[u8])> =
            vec![(KIND, std::slice::from_ref(&kind)), (SERVER, &own)];
        if kind == NAK {
            return Some(question.answer(Ipv4Addr::UNSPECIFIED, &options));
        }
        let seconds = LEASE.to_be_bytes();
        options.extend([(TIME, &seconds[..]), (MASK, &mask), (ROUTER, &own), (NAMES, &own)]);
        Some(question.answer(gives?, &options))
    }

    /// The address for a MAC address: the reserved one, the previous one, or the first free one.
    fn address(&self, mac: String, given: &mut Given) -> Option<Ipv4Addr> {
        if let Some(known) = self.hosts.get(&mac).or_else(|| given.get(&mac)) {
            return Some(*known);
        }
        let is_taken = |it: &Ipv4Addr| self.hosts.values().chain(given.values()).any(|at| at == it);
        let mut free = (self.free.0..self.free.1).map(Ipv4Addr::from_bits);
        let address = free.find(|it| !is_taken(it))?;
        given.insert(mac, address);
        Some(address)
    }
}
