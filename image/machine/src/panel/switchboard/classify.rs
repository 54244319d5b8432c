//! What a frame that came out has to do with probes.

use std::net::IpAddr;

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

use super::probe::MARK;
use crate::panel::port::Mac;
use crate::panel::raw::transport::{self, TCP, flags};
use crate::panel::raw::{self, ethernet};

/// What says that something did not arrive, of ICMP and of ICMPv6: unreachable, too big, too long
/// on the way, not understood (RFC 792; RFC 4443).
const ERRORS: ([u8; 3], [u8; 4]) = ([3, 11, 12], [1, 2, 3, 4]);

/// Bytes of the header of an error.
const ERROR: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The probe with this tag.
    Itself(u32),
    /// What somebody says to the probe with this tag.
    Answer(u32),
    /// A datagram, which may be either; with the ports that it is from and to.
    Datagram { tag: Option<u32>, from: u16, to: u16 },
}

/// What a frame is, if it may have to do with a probe.
pub fn classify(frame: &[u8]) -> Option<Match> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            let (protocol, above) = (packet.next_header(), packet.payload());
            match protocol {
                IpProtocol::Icmp => {
                    icmp(above, (8, 0), &ERRORS.0, |quoted| {
                        // It is longer than what is quoted of it, so its length is not looked at.
                        let header = usize::from(quoted.first()? & 0xf) * 4;
                        let protocol = IpProtocol::from(*quoted.get(9)?);
                        Some((protocol, quoted.get(header..)?))
                    })
                }
                _ => transport(protocol, above),
            }
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            let (protocol, above) = (packet.next_header(), packet.payload());
            match protocol {
                IpProtocol::Icmpv6 => icmp(above, (128, 129), &ERRORS.1, |quoted| {
                    Some((IpProtocol::from(*quoted.get(6)?), quoted.get(40..)?))
                }),
                _ => transport(protocol, above),
            }
        }
        _ => None,
    }
}

/// A message of ICMP; `inner` finds what lies above IP in what an error quotes.
fn icmp(
    bytes: &[u8],
    (request, reply): (u8, u8),
    errors: &[u8],
    inner: impl Fn(&[u8]) -> Option<(IpProtocol, &[u8])>,
) -> Option<Match> {
    let kind = *bytes.first()?;
    match kind {
        _ if kind == request => Some(Match::Itself(tag(bytes)?)),
        _ if kind == reply => Some(Match::Answer(tag(bytes)?)),
        _ if errors.contains(&kind) => {
            let (protocol, quoted) = inner(bytes.get(ERROR..)?)?;
            match protocol {
                IpProtocol::Icmp | IpProtocol::Icmpv6 if *quoted.first()? == request => {
                    Some(Match::Answer(tag(quoted)?))
                }
                IpProtocol::Icmp | IpProtocol::Icmpv6 => None,
                // What is long is cut off: the first eight bytes of it are always there.
                IpProtocol::Tcp => Some(Match::Answer(number(quoted, 4)?)),
                IpProtocol::Udp => match tag(quoted) {
                    Some(tag) => Some(Match::Answer(tag)),
                    None => {
                        let port = |at| Some((number(quoted, at)? >> 16) as u16);
                        let (from, to) = (port(0)?, (number(quoted, 0)? & 0xffff) as u16);
                        // Seen from who is answered.
                        Some(Match::Datagram { tag: None, from: to, to: from })
                    }
                },
                _ => Some(Match::Answer(tag(quoted)?)),
            }
        }
        _ => None,
    }
}

fn transport(protocol: IpProtocol, bytes: &[u8]) -> Option<Match> {
    match protocol {
        IpProtocol::Tcp => {
            let packet = TcpPacket::new_checked(bytes).ok()?;
            // A SYN takes one number, and carries nothing.
            let before = packet.ack_number().0.wrapping_sub(1) as u32;
            match (packet.syn(), packet.ack(), packet.rst()) {
                (true, false, false) => Some(Match::Itself(packet.seq_number().0 as u32)),
                (_, true, true) | (true, true, _) => Some(Match::Answer(before)),
                _ => None,
            }
        }
        IpProtocol::Udp => {
            let packet = UdpPacket::new_checked(bytes).ok()?;
            let (from, to) = (packet.src_port(), packet.dst_port());
            Some(Match::Datagram { tag: tag(packet.payload()), from, to })
        }
        _ => Some(Match::Itself(tag(bytes)?)),
    }
}

/// The tag at the end of what a probe carries.
fn tag(bytes: &[u8]) -> Option<u32> {
    let (rest, tag) = bytes.split_last_chunk::<4>()?;
    rest.ends_with(MARK).then_some(u32::from_be_bytes(*tag))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What ends a connection that somebody agreed to, if that is what `frame` says: the test asked only to
/// see whether it can be had, and half of a connection takes up somebody's memory.
pub fn refusal(frame: &[u8]) -> Option<Vec<u8>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let macs = (Mac(frame.dst_addr().0), Mac(frame.src_addr().0));
    let (protocol, ends, above): (_, (IpAddr, IpAddr), _) = match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            let ends = (packet.dst_addr().into(), packet.src_addr().into());
            (packet.next_header(), ends, packet.payload())
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            let ends = (packet.dst_addr().into(), packet.src_addr().into());
            (packet.next_header(), ends, packet.payload())
        }
        _ => return None,
    };
    if protocol != IpProtocol::Tcp {
        return None;
    }
    let packet = TcpPacket::new_checked(above).ok()?;
    if !(packet.syn() && packet.ack()) {
        return None;
    }
    let ports = (packet.dst_port(), packet.src_port());
    let numbers = (packet.ack_number().0 as u32, 0);
    let reset = transport::tcp(ends, ports, flags::RST, numbers, &[]);
    Some(ethernet::ip(macs, &raw::packet(ends, TCP, &reset)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::panel::raw::icmp;
    use crate::panel::switchboard::{Leg, Probe, Traffic};

    const TAG: u32 = 0x0c7e_7123;

    fn leg() -> Leg {
        Leg::board(1, Mac::number(100))
    }

    fn targets() -> [IpAddr; 2] {
        ["10.20.2.2".parse().unwrap(), "fd6f:6374:6574:2::2".parse().unwrap()]
    }

    /// An error about the frame of a probe, of which it quotes so many bytes.
    fn error(probe: &[u8], bytes: usize) -> Vec<u8> {
        let packet = &probe[14..];
        let quoted = [&[0; 4], &packet[..bytes.min(packet.len())]].concat();
        let macs = (Mac::number(100), Mac::number(1));
        let (four, six) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let (ends, protocol, error): ((IpAddr, IpAddr), _, _) = match packet[0] >> 4 {
            4 => ((four.into(), four.into()), icmp::ICMP, icmp::v4(3, 13, &quoted)),
            _ => ((six.into(), six.into()), icmp::ICMPV6, icmp::v6((six, six), 1, 1, &quoted)),
        };
        ethernet::ip(macs, &raw::packet(ends, protocol, &error))
    }

    #[test]
    fn probes_and_errors_about_them_are_known() {
        let kinds = [Traffic::Tcp(80), Traffic::Ping, Traffic::Protocol(47)];
        for to in targets() {
            for kind in kinds {
                let frame = Probe::new(0, to, kind).with_payload(b"hi").frame(&leg(), TAG);
                assert_eq!(classify(&frame), Some(Match::Itself(TAG)), "{kind:?}");
                assert_eq!(classify(&error(&frame, 1000)), Some(Match::Answer(TAG)), "{kind:?}");
            }
            let frame = Probe::new(0, to, kinds[0]).frame(&leg(), TAG);
            let first_eight = if to.is_ipv4() { 28 } else { 48 };
            assert_eq!(classify(&error(&frame, first_eight)), Some(Match::Answer(TAG)));
        }
    }

    #[test]
    fn datagrams_are_known_by_tag_or_port() {
        for to in targets() {
            let own = super::super::probe::own_port(TAG);
            let tagged = Probe::new(0, to, Traffic::Udp(9));
            let worded = tagged.clone().with_payload(b"words");
            for (probe, tag) in [(tagged, Some(TAG)), (worded, None)] {
                let frame = probe.frame(&leg(), TAG);
                assert_eq!(classify(&frame), Some(Match::Datagram { tag, from: own, to: 9 }));
                let answer = match tag {
                    Some(tag) => Match::Answer(tag),
                    None => Match::Datagram { tag, from: 9, to: own },
                };
                assert_eq!(classify(&error(&frame, 1000)), Some(answer));
            }
        }
    }

    #[test]
    fn what_others_say_is_not_known() {
        let ends = (targets()[0], targets()[0]);
        let tcp = |flags| {
            let segment = transport::tcp(ends, (1, 2), flags, (3, 4), b"data");
            ethernet::ip((Mac::number(1), Mac::number(2)), &raw::packet(ends, TCP, &segment))
        };
        assert_eq!(classify(&tcp(flags::ACK)), None);
        assert_eq!(classify(&tcp(flags::RST)), None);
        assert_eq!(classify(&tcp(flags::SYN | flags::ACK)), Some(Match::Answer(3)));
        assert_eq!(classify(&ethernet::lldp(Mac::number(1))), None);
        assert_eq!(classify(b"short"), None);
        // Only who agrees to a connection is told that it is not wanted.
        assert_eq!(refusal(&tcp(flags::RST | flags::ACK)), None);
        let reset = refusal(&tcp(flags::SYN | flags::ACK)).unwrap();
        let read = TcpPacket::new_checked(&reset[34..]).unwrap();
        assert!(read.rst() && !read.ack());
        assert_eq!((read.src_port(), read.dst_port(), read.seq_number().0), (2, 1, 4));
    }
}
