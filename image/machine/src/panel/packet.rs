//! Packets in frames: built, and read, by smoltcp's own types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpHardware, ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame,
    EthernetProtocol, EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, Ipv4Packet,
    Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

use super::port::Mac;

/// Bytes of an Ethernet header.
const HEADER: usize = 14;

/// ICMP's own way to say that a port or a host cannot be had (RFC 792, RFC 4443).
const UNREACHABLE: (u8, u8) = (3, 1);

/// A TCP or UDP packet, without what lies above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub from: (IpAddr, u16),
    pub to: (IpAddr, u16),
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connection is asked for.
    Syn,
    SynAck,
    /// It is refused, or broken off.
    Rst,
    Tcp,
    Udp,
    /// What was sent from here to there is said not to arrive; the addresses are those of what was
    /// sent.
    Unreachable,
}

/// What came in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceivedPacket {
    /// Somebody asks for the Ethernet address of an IP address.
    WhoHas { target: IpAddr, asker: IpAddr, asker_mac: Mac },
    /// Somebody says it to somebody.
    IsAt { address: IpAddr, mac: Mac, to: IpAddr },
    /// A packet of TCP, UDP, or about one.
    Segment(Segment),
}

fn ethernet(mac: Mac) -> EthernetAddress {
    EthernetAddress(mac.0)
}

fn frame(from: Mac, to: Mac, protocol: EthernetProtocol, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADER + length];
    let repr =
        EthernetRepr { src_addr: ethernet(from), dst_addr: ethernet(to), ethertype: protocol };
    repr.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    bytes
}

/// A frame with an IP packet whose payload `emit` writes.
fn ip(
    macs: (Mac, Mac),
    ends: (IpAddr, IpAddr),
    protocol: IpProtocol,
    hop_limit: u8,
    length: usize,
    emit: impl FnOnce(&mut [u8], IpAddress, IpAddress),
) -> Vec<u8> {
    let (source, destination) = (IpAddress::from(ends.0), IpAddress::from(ends.1));
    match ends {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let next_header = protocol;
            let repr = Ipv4Repr { src_addr, dst_addr, next_header, payload_len: length, hop_limit };
            let mut bytes =
                frame(macs.0, macs.1, EthernetProtocol::Ipv4, repr.buffer_len() + length);
            let mut packet = Ipv4Packet::new_unchecked(&mut bytes[HEADER..]);
            repr.emit(&mut packet, &ChecksumCapabilities::default());
            emit(packet.payload_mut(), source, destination);
            bytes
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let next_header = protocol;
            let repr = Ipv6Repr { src_addr, dst_addr, next_header, payload_len: length, hop_limit };
            let mut bytes =
                frame(macs.0, macs.1, EthernetProtocol::Ipv6, repr.buffer_len() + length);
            let mut packet = Ipv6Packet::new_unchecked(&mut bytes[HEADER..]);
            repr.emit(&mut packet);
            emit(packet.payload_mut(), source, destination);
            bytes
        }
        _ => panic!("{} and {} are of two kinds", ends.0, ends.1),
    }
}

/// A frame with a TCP packet, as `kind` says; the sequence number is of no use to anybody.
pub fn tcp(macs: (Mac, Mac), segment: &Segment) -> Vec<u8> {
    let (control, ack_number) = match segment.kind {
        Kind::Syn => (TcpControl::Syn, None),
        Kind::SynAck => (TcpControl::Syn, Some(TcpSeqNumber(1))),
        Kind::Rst => (TcpControl::Rst, None),
        _ => (TcpControl::None, Some(TcpSeqNumber(1))),
    };
    // One more than that of the SYN, so that a RST is believed.
    let seq_number = TcpSeqNumber(if control == TcpControl::Syn { 1000 } else { 1001 });
    let repr = TcpRepr {
        src_port: segment.from.1,
        dst_port: segment.to.1,
        control,
        seq_number,
        ack_number,
        window_len: 1024,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ends = (segment.from.0, segment.to.0);
    ip(macs, ends, IpProtocol::Tcp, 64, repr.buffer_len(), |bytes, from, to| {
        let checksums = ChecksumCapabilities::default();
        repr.emit(&mut TcpPacket::new_unchecked(bytes), &from, &to, &checksums);
    })
}

/// A frame with a datagram.
pub fn udp(macs: (Mac, Mac), from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let repr = UdpRepr { src_port: from.1, dst_port: to.1 };
    let length = repr.header_len() + payload.len();
    ip(macs, (from.0, to.0), IpProtocol::Udp, 64, length, |bytes, from, to| {
        let checksums = ChecksumCapabilities::default();
        let put = |buffer: &mut [u8]| buffer.copy_from_slice(payload);
        let mut packet = UdpPacket::new_unchecked(bytes);
        repr.emit(&mut packet, &from, &to, payload.len(), put, &checksums);
    })
}

/// A frame that says or asks which Ethernet address `about` has.
pub fn neighbour(
    macs: (Mac, Mac),
    from: IpAddr,
    to: IpAddr,
    about: IpAddr,
    is_solicitation: bool,
) -> Vec<u8> {
    match (from, to, about) {
        (IpAddr::V4(from), IpAddr::V4(to), _) => {
            let repr = ArpRepr::EthernetIpv4 {
                operation: if is_solicitation {
                    ArpOperation::Request
                } else {
                    ArpOperation::Reply
                },
                source_hardware_addr: ethernet(macs.0),
                source_protocol_addr: from,
                target_hardware_addr: ethernet(if is_solicitation { Mac([0; 6]) } else { macs.1 }),
                target_protocol_addr: to,
            };
            let mut bytes = frame(macs.0, macs.1, EthernetProtocol::Arp, repr.buffer_len());
            repr.emit(&mut ArpPacket::new_unchecked(&mut bytes[HEADER..]));
            bytes
        }
        (IpAddr::V6(from), IpAddr::V6(to), IpAddr::V6(target_addr)) => {
            let lladdr = Some(RawHardwareAddress::from(ethernet(macs.0)));
            let repr = Icmpv6Repr::Ndisc(if is_solicitation {
                NdiscRepr::NeighborSolicit { target_addr, lladdr }
            } else {
                let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
                NdiscRepr::NeighborAdvert { flags, target_addr, lladdr }
            });
            let ends = (IpAddr::V6(from), IpAddr::V6(to));
            ip(macs, ends, IpProtocol::Icmpv6, 255, repr.buffer_len(), |bytes, _, _| {
                let checksums = ChecksumCapabilities::default();
                let mut packet = Icmpv6Packet::new_unchecked(bytes);
                repr.emit(&from, &to, &mut packet, &checksums);
            })
        }
        _ => panic!("{from} and {to} are of two kinds"),
    }
}

/// Where everybody is asked who has the address `of` (RFC 4291, 2.7.1; RFC 2464, 7).
pub fn solicitation_target(of: IpAddr) -> (IpAddr, Mac) {
    match of {
        IpAddr::V4(_) => (of, Mac([0xff; 6])),
        IpAddr::V6(address) => {
            let [.., a, b, c] = address.octets();
            let [ab, c] = [u16::from(a) | 0xff00, u16::from_be_bytes([b, c])];
            let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, ab, c);
            let [.., w, x, y, z] = group.octets();
            (IpAddr::V6(group), Mac([0x33, 0x33, w, x, y, z]))
        }
    }
}

/// What `bytes`, a frame, says; `None` for all that nobody here listens to. The first address is the
/// Ethernet address that it is for.
pub fn parse(bytes: &[u8]) -> Option<(Mac, ReceivedPacket)> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    let to = Mac(frame.dst_addr().0);
    let from = Mac(frame.src_addr().0);
    let packet = match frame.ethertype() {
        EthernetProtocol::Arp => arp(frame.payload())?,
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            let ends = (packet.src_addr().into(), packet.dst_addr().into());
            parse_transport(packet.next_header(), ends, packet.payload(), from)?
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            let ends = (packet.src_addr().into(), packet.dst_addr().into());
            parse_transport(packet.next_header(), ends, packet.payload(), from)?
        }
        EthernetProtocol::Unknown(_) => return None,
    };
    Some((to, packet))
}

fn arp(bytes: &[u8]) -> Option<ReceivedPacket> {
    let packet = ArpPacket::new_checked(bytes).ok()?;
    if packet.hardware_type() != ArpHardware::Ethernet {
        return None;
    }
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: source,
        target_protocol_addr: target,
        ..
    } = ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    let (mac, source, target) = (Mac(mac.0), IpAddr::V4(source), IpAddr::V4(target));
    match operation {
        ArpOperation::Request => {
            Some(ReceivedPacket::WhoHas { target, asker: source, asker_mac: mac })
        }
        ArpOperation::Reply => Some(ReceivedPacket::IsAt { address: source, mac, to: target }),
        ArpOperation::Unknown(_) => None,
    }
}

fn parse_transport(
    protocol: IpProtocol,
    (source, destination): (IpAddr, IpAddr),
    bytes: &[u8],
    mac: Mac,
) -> Option<ReceivedPacket> {
    let segment = |from: u16, to: u16, kind| {
        Some(ReceivedPacket::Segment(Segment { from: (source, from), to: (destination, to), kind }))
    };
    match protocol {
        IpProtocol::Tcp => {
            let packet = TcpPacket::new_checked(bytes).ok()?;
            let kind = match (packet.syn(), packet.ack(), packet.rst()) {
                (_, _, true) => Kind::Rst,
                (true, true, _) => Kind::SynAck,
                (true, false, _) => Kind::Syn,
                _ => Kind::Tcp,
            };
            segment(packet.src_port(), packet.dst_port(), kind)
        }
        IpProtocol::Udp => {
            let packet = UdpPacket::new_checked(bytes).ok()?;
            segment(packet.src_port(), packet.dst_port(), Kind::Udp)
        }
        IpProtocol::Icmp if *bytes.first()? == UNREACHABLE.0 => {
            let inner = bytes.get(8..)?;
            let header = usize::from(inner.first()? & 0xf) * 4;
            let address = |at: usize| {
                let four = <[u8; 4]>::try_from(inner.get(at..at + 4)?).ok()?;
                Some(IpAddr::V4(Ipv4Addr::from(four)))
            };
            unreachable(address(12)?, address(16)?, inner.get(header..)?)
        }
        IpProtocol::Icmpv6 => icmpv6((source, destination), bytes, mac),
        _ => None,
    }
}

fn icmpv6(
    (source, destination): (IpAddr, IpAddr),
    bytes: &[u8],
    mac: Mac,
) -> Option<ReceivedPacket> {
    let address = |bytes: &[u8], at: usize| {
        let sixteen = <[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(sixteen)))
    };
    match *bytes.first()? {
        kind if kind == UNREACHABLE.1 => {
            let inner = bytes.get(8..)?;
            unreachable(address(inner, 8)?, address(inner, 24)?, inner.get(40..)?)
        }
        135 => Some(ReceivedPacket::WhoHas {
            target: address(bytes, 8)?,
            asker: source,
            asker_mac: mac,
        }),
        136 => Some(ReceivedPacket::IsAt { address: address(bytes, 8)?, mac, to: destination }),
        _ => None,
    }
}

/// What an error quotes of the packet that it is about.
fn unreachable(from: IpAddr, to: IpAddr, ports: &[u8]) -> Option<ReceivedPacket> {
    let port = |at: usize| Some(u16::from_be_bytes([*ports.get(at)?, *ports.get(at + 1)?]));
    let (from, to) = ((from, port(0)?), (to, port(2)?));
    Some(ReceivedPacket::Segment(Segment { from, to, kind: Kind::Unreachable }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: (Mac, Mac) = (Mac::number(1), Mac::number(2));

    fn ends() -> [(IpAddr, IpAddr); 2] {
        let ip = |text: &str| text.parse().unwrap();
        [(ip("192.0.2.1"), ip("192.0.2.2")), (ip("fe80::1"), ip("fe80::2"))]
    }

    #[test]
    fn what_is_built_is_read() {
        for (one, other) in ends() {
            for kind in [Kind::Syn, Kind::SynAck, Kind::Rst, Kind::Tcp] {
                let segment = Segment { from: (one, 4000), to: (other, 80), kind };
                let read = parse(&tcp(MACS, &segment));
                assert_eq!(read, Some((MACS.1, ReceivedPacket::Segment(segment))));
            }
            let datagram = udp(MACS, (one, 4000), (other, 80), b"hello");
            let segment = Segment { from: (one, 4000), to: (other, 80), kind: Kind::Udp };
            assert_eq!(parse(&datagram), Some((MACS.1, ReceivedPacket::Segment(segment))));
            let asked = neighbour(MACS, one, other, other, true);
            let who = ReceivedPacket::WhoHas { target: other, asker: one, asker_mac: MACS.0 };
            assert_eq!(parse(&asked), Some((MACS.1, who)));
            let said = neighbour(MACS, one, other, one, false);
            let is_at = ReceivedPacket::IsAt { address: one, mac: MACS.0, to: other };
            assert_eq!(parse(&said), Some((MACS.1, is_at)));
        }
        assert_eq!(parse(b"too short"), None);
    }

    #[test]
    fn errors_tell_what_they_are_about() {
        for (one, other) in ends() {
            let datagram = udp(MACS, (one, 4000), (other, 80), b"hello");
            let (kind, protocol) = match one {
                IpAddr::V4(_) => (UNREACHABLE.0, IpProtocol::Icmp),
                IpAddr::V6(_) => (UNREACHABLE.1, IpProtocol::Icmpv6),
            };
            let quoted = &datagram[HEADER..];
            let error = ip(MACS, (other, one), protocol, 64, 8 + quoted.len(), |bytes, _, _| {
                bytes[0] = kind;
                bytes[8..].copy_from_slice(quoted);
            });
            let about = Segment { from: (one, 4000), to: (other, 80), kind: Kind::Unreachable };
            assert_eq!(parse(&error), Some((MACS.1, ReceivedPacket::Segment(about))));
        }
    }
}
