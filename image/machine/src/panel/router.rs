//! A router with one port for a board and one for the owner's devices, without rules: what a single board is plugged into.
//!
//! It keeps nothing. An address follows from the Ethernet address of who asks for one by DHCP, and back: so it needs no
//! leases and no neighbours, and forwards nothing for or from anybody else.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

use smoltcp::wire::{DhcpOption, EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Packet};

use super::dhcp::DhcpServer;
use super::hub::Hub;
use super::peer::{self, OwnAddresses};
use super::port::{Mac, Out, Port};

/// The card of the board.
pub const BOARD: Mac = Mac::number(1);

/// The option of DHCP by which a router of ours says which board its port is for.
const BOARD_NUMBER_OPTION: u8 = 224;

/// The segments' numbers, as in a box: of the first board, and of the owner's devices.
const BOARD_SEGMENT: u8 = 1;
const LAN_SEGMENT: u8 = 250;

/// The router itself is this host of each.
const ROUTER: u8 = 1;

const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// Seconds for which an address is given.
const LEASE: u32 = 600;

/// The Ethernet address of the device that has this `number` at the hub of a lan.
pub const fn device(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, number])
}

/// The router. It ends with the value.
pub struct Router {
    _hub: Hub,
}

impl Router {
    /// With a board at `port`, and a hub for the owner's devices at `path`. The networks are in the first 16 bits
    /// `prefix`. The board is told that it is the first one of a box, if `is_numbered`.
    pub fn start(port: Port, path: &Path, prefix: [u8; 2], is_numbered: bool) -> io::Result<Self> {
        let (hub, lan) = Hub::listen(path)?;
        let board = Segment { prefix, number: BOARD_SEGMENT, is_numbered };
        let devices = Segment { prefix, number: LAN_SEGMENT, is_numbered: false };
        let ((to_board, from_board), (to_lan, from_lan)) = (port.split(), lan.split());
        let (to_board_too, to_lan_too) = (Arc::clone(&to_board), Arc::clone(&to_lan));
        thread::spawn(move || carry((board, &from_board, &to_board), (devices, &to_lan)));
        thread::spawn(move || carry((devices, &from_lan, &to_lan_too), (board, &to_board_too)));
        Ok(Self { _hub: hub })
    }
}

/// Answers what comes from one side, or forwards it to the other one, until that side ends.
fn carry((own, frames, back): (Segment, &Receiver<Vec<u8>>, &Out), (other, out): (Segment, &Out)) {
    for frame in frames {
        // Who is gone takes nothing.
        if let Some(answer) = own.answer(&frame) {
            let _ = back.send(&answer);
        } else if let Some(forwarded) = own.forward(&frame, other) {
            let _ = out.send(&forwarded);
        }
    }
}

/// One of the two networks.
#[derive(Debug, Clone, Copy)]
struct Segment {
    prefix: [u8; 2],
    number: u8,
    is_numbered: bool,
}

impl Segment {
    fn host(self, host: u8) -> Ipv4Addr {
        let [a, b] = self.prefix;
        Ipv4Addr::new(a, b, self.number, host)
    }

    fn mac(self) -> Mac {
        Mac([2, 0, 0, 0, 0xff, self.number])
    }

    /// The address of who has this card.
    fn address(self, mac: Mac) -> Option<Ipv4Addr> {
        let host = match mac.0 {
            _ if self.number == BOARD_SEGMENT => (mac == BOARD).then_some(0)?,
            [2, 0, 0, 0, 1, number @ 1..=252] => number - 1,
            _ => return None,
        };
        Some(self.host(ROUTER + 1 + host))
    }

    /// The card of who has this address.
    fn mac_of(self, address: Ipv4Addr) -> Option<Mac> {
        let mac = match self.number {
            BOARD_SEGMENT => BOARD,
            _ => device(address.octets()[3].checked_sub(ROUTER)?),
        };
        (self.address(mac) == Some(address)).then_some(mac)
    }

    /// What the router itself says to `frame`.
    fn answer(self, frame: &[u8]) -> Option<Vec<u8>> {
        let (mac, own) = (self.mac(), OwnAddresses::One(self.host(ROUTER)));
        peer::neighbour(frame, mac, own)
            .or_else(|| peer::echo(frame, mac, own))
            .or_else(|| self.lease(frame))
    }

    fn lease(self, frame: &[u8]) -> Option<Vec<u8>> {
        let from = Mac(frame.get(6..12)?.try_into().ok()?);
        let server = DhcpServer {
            mac: self.mac(),
            address: self.host(ROUTER),
            mask: MASK,
            offered: self.address(from)?,
            seconds: LEASE,
            knows: false,
        };
        let number = [DhcpOption { kind: BOARD_NUMBER_OPTION, data: &[BOARD_SEGMENT] }];
        server.answer_with(frame, if self.is_numbered { &number } else { &[] })?.1
    }

    /// The frame by which the packet in `frame` goes on in the `other` network.
    fn forward(self, frame: &[u8], other: Self) -> Option<Vec<u8>> {
        let mut bytes = frame.to_vec();
        let mut ethernet = EthernetFrame::new_checked(&mut bytes[..]).ok()?;
        let (from, to) = (Mac(ethernet.src_addr().0), Mac(ethernet.dst_addr().0));
        if to != self.mac() || ethernet.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let mut packet = Ipv4Packet::new_checked(ethernet.payload_mut()).ok()?;
        let next = other.mac_of(packet.dst_addr())?;
        if self.address(from) != Some(packet.src_addr()) || packet.hop_limit() < 2 {
            return None;
        }
        packet.set_hop_limit(packet.hop_limit() - 1);
        packet.fill_checksum();
        ethernet.set_src_addr(EthernetAddress(other.mac().0));
        ethernet.set_dst_addr(EthernetAddress(next.0));
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use crate::panel::hub;
    use crate::panel::packet;
    use crate::panel::raw;

    #[test]
    fn a_board_and_a_device_reach_each_other_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lan");
        let (board, port) = Port::pair().unwrap();
        let _router = Router::start(port, &path, [10, 20], true).unwrap();
        let (lan, number) = hub::join(&path).unwrap();
        assert_eq!(number, 1);
        let soon = || Instant::now() + Duration::from_secs(180);
        let ip = |number, host| IpAddr::V4(Ipv4Addr::new(10, 20, number, host));
        let router = |number| Mac([2, 0, 0, 0, 0xff, number]);
        let (of_board, of_device) = ((ip(1, 2), 7), (ip(250, 2), 5000));

        // The board is told its address and its number.
        board.send(&discover(BOARD)).unwrap();
        let offered = peer::datagram(&board.receive(soon()).unwrap()).unwrap().payload;
        assert_eq!(offered[16..20], [10, 20, 1, 2]);
        assert!(offered.windows(3).any(|option| option == [BOARD_NUMBER_OPTION, 1, 1]));

        // Neither a packet that nobody may send, nor one that has come far enough, nor one for a stranger.
        let asked = (device(1), router(250));
        let good = packet::udp(asked, of_device, of_board, b"good");
        let mut far = good.clone();
        far[14 + 8] = 1;
        let forged = packet::udp(asked, (ip(250, 3), 5000), of_board, b"forged");
        let strange = packet::udp(asked, of_device, (ip(2, 2), 7), b"strange");
        for frame in [&far, &forged, &strange, &good] {
            lan.send(frame).unwrap();
        }
        let came = board.receive(soon()).unwrap();
        assert_eq!(came[..12], [BOARD.0, router(1).0].concat());
        assert_eq!(came[14 + 8], 63);
        assert_eq!(peer::datagram(&came).unwrap().payload, b"good");
        assert!(Ipv4Packet::new_checked(&came[14..]).unwrap().verify_checksum());

        board.send(&packet::udp((BOARD, router(1)), of_board, of_device, b"back")).unwrap();
        lan.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
        let mut buffer = [0; 2048];
        let count = lan.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..6], device(1).0);
        assert_eq!(peer::datagram(&buffer[..count]).unwrap().payload, b"back");
    }

    fn discover(mac: Mac) -> Vec<u8> {
        let [from, to] = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST].map(IpAddr::V4);
        packet::udp((mac, Mac([0xff; 6])), (from, 68), (to, 67), &raw::dhcp::discover(mac))
    }
}
