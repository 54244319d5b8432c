//! What is given at an interface, to whom, and what he is told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, DhcpOptions, Message, MessageType, Opcode, OptionCode};
use octet_openwrt_double::uci::{Package, Section};

/// For how long an address is given, in seconds: 1 h, as the box's sections say.
const LEASE: u32 = 3600;

/// Who has which address, by Ethernet addresses in small letters.
type Given = BTreeMap<String, Ipv4Addr>;

/// What is given at an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pool {
    /// Its device.
    pub device: String,
    own: Ipv4Addr,
    mask: Ipv4Addr,
    /// The first address, as a number, and the one behind the last.
    free: (u32, u32),
    /// Whose addresses are said.
    hosts: Given,
}

impl Pool {
    /// What this section gives; `None` if there is no such interface, or it is to be left alone.
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

    /// The answer to `question`, if there is one; `given` is kept between questions.
    pub fn answer(&self, question: &Message, given: &mut Given) -> Option<Message> {
        let address = |code| match question.opts().get(code) {
            Some(DhcpOption::RequestedIpAddress(it) | DhcpOption::ServerIdentifier(it)) => {
                Some(*it)
            }
            _ => None,
        };
        if address(OptionCode::ServerIdentifier).is_some_and(|it| it != self.own) {
            return None;
        }
        let bytes = question.chaddr().iter().map(|it| format!("{it:02x}"));
        let gives = self.address(bytes.collect::<Vec<_>>().join(":"), given);
        let wish = address(OptionCode::RequestedIpAddress).unwrap_or(question.ciaddr());
        let mut answer = question.clone();
        let mut options = DhcpOptions::new();
        options.insert(DhcpOption::ServerIdentifier(self.own));
        let kind = match question.opts().msg_type()? {
            MessageType::Discover if gives.is_some() => MessageType::Offer,
            MessageType::Request if gives == Some(wish) => MessageType::Ack,
            MessageType::Request => MessageType::Nak,
            _ => return None,
        };
        options.insert(DhcpOption::MessageType(kind));
        if kind != MessageType::Nak {
            answer.set_yiaddr(gives?);
            options.insert(DhcpOption::AddressLeaseTime(LEASE));
            options.insert(DhcpOption::SubnetMask(self.mask));
            options.insert(DhcpOption::Router(vec![self.own]));
            options.insert(DhcpOption::DomainNameServer(vec![self.own]));
        }
        answer.set_opcode(Opcode::BootReply).set_opts(options);
        Some(answer)
    }

    /// The address of who has this Ethernet address: his own, the one that he has had, or the first that nobody has.
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
