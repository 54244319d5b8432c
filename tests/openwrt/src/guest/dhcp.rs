//! Addresses for who asks at an interface (DHCP, RFC 2131): what `dnsmasq` makes of the file `dhcp`, as far as a box needs
//! it. Whom it has given what it knows as long as the interface is the same.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use dhcproto::v4::{DhcpOption, DhcpOptions, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use octet_openwrt_double::uci::{Package, Section};
use rustix::net::{AddressFamily, Shutdown, SocketType, bind, ipproto, shutdown, socket, sockopt};

/// Where servers are asked, and where clients are answered.
const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// For how long an address is given, in seconds: 1 h, as all the box's sections say.
const LEASE: u32 = 3600;

/// The largest message that is read, in bytes.
const LARGEST: usize = 1500;

/// What is given at an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pool {
    device: String,
    own: Ipv4Addr,
    mask: Ipv4Addr,
    /// The first address, as a number, and the one behind the last.
    free: (u32, u32),
    /// Whose addresses are said, by Ethernet addresses.
    hosts: BTreeMap<String, Ipv4Addr>,
}

/// Who serves at an interface.
struct Server {
    socket: Arc<UdpSocket>,
    thread: JoinHandle<()>,
}

/// All who do.
static SERVED: Mutex<BTreeMap<Pool, Server>> = Mutex::new(BTreeMap::new());

/// Has addresses given as the files `dhcp` and `network` say; who serves at an interface that stays the same goes on.
///
/// # Errors
/// The kernel refuses.
pub fn run(dhcp: &Package, network: &Package) -> io::Result<()> {
    let sections = dhcp.sections.iter().filter(|it| it.kind == "dhcp");
    let wanted: BTreeSet<Pool> = sections.filter_map(|it| Pool::of(it, dhcp, network)).collect();
    let mut served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = mem::take(&mut *served).into_iter();
    let (stay, gone): (_, BTreeMap<_, _>) = all.partition(|(pool, _)| wanted.contains(pool));
    *served = stay;
    gone.into_values().for_each(Server::end);
    for pool in wanted {
        if let Entry::Vacant(entry) = served.entry(pool) {
            let server = Server::start(entry.key().clone())?;
            entry.insert(server);
        }
    }
    Ok(())
}

impl Server {
    fn start(pool: Pool) -> io::Result<Self> {
        let socket = Arc::new(pool.socket()?);
        let at = Arc::clone(&socket);
        Ok(Self { socket, thread: thread::spawn(move || pool.serve(&at)) })
    }

    fn end(self) {
        // It has no other end, so that is an error; whoever waits at it wakes all the same.
        let _ = shutdown(&self.socket, Shutdown::Both);
        let _ = self.thread.join();
    }
}

impl Pool {
    /// What this section gives; `None` if there is no such interface, or it is to be left alone.
    fn of(section: &Section, dhcp: &Package, network: &Package) -> Option<Self> {
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

    /// Where it is asked: at its own device alone.
    fn socket(&self) -> io::Result<UdpSocket> {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::UDP))?;
        setsockopt(&socket, BindToDevice, &self.device.clone().into())?;
        sockopt::set_socket_broadcast(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, SERVER))?;
        Ok(socket.into())
    }

    /// Answers until the socket is shut.
    fn serve(&self, socket: &UdpSocket) {
        let (mut buffer, mut given) = ([0; LARGEST], BTreeMap::new());
        while let Ok((length @ 1.., _)) = socket.recv_from(&mut buffer) {
            let Ok(question) = Message::decode(&mut Decoder::new(&buffer[..length])) else {
                continue;
            };
            let Some(answer) = self.answer(&question, &mut given) else { continue };
            let has = question.ciaddr();
            let to = if has.is_unspecified() { Ipv4Addr::BROADCAST } else { has };
            // Who is gone asks again.
            let _ = answer.to_vec().map(|bytes| socket.send_to(&bytes, (to, CLIENT)));
        }
    }

    fn answer(
        &self,
        question: &Message,
        given: &mut BTreeMap<String, Ipv4Addr>,
    ) -> Option<Message> {
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
    fn address(&self, mac: String, given: &mut BTreeMap<String, Ipv4Addr>) -> Option<Ipv4Addr> {
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
