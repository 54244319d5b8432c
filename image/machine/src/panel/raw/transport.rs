//! TCP with any flags, and UDP.

use std::net::IpAddr;

use smoltcp::wire::{IpAddress, TcpPacket, TcpSeqNumber, UdpPacket};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// The flags of TCP (RFC 9293, 3.1).
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    /// A connection is broken off.
    pub const RST: u8 = 0x04;
    /// What has come is to be delivered.
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    /// The urgent pointer says something.
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    /// The window is smaller for it.
    pub const CWR: u8 = 0x80;
}

/// A segment of TCP, with these numbers of sequence and acknowledgement.
///
/// # Panics
/// The two ends are of different versions of IP.
pub fn tcp(
    ends: (IpAddr, IpAddr),
    ports: (u16, u16),
    flags: u8,
    numbers: (u32, u32),
    payload: &[u8],
) -> Vec<u8> {
    segment(ends, ports, flags, numbers, (&[], payload))
}

/// The segment that begins a connection, or with [`ACK`](flags::ACK) the answer to it. It says how long the segments
/// are that its side takes (RFC 9293, 3.7.1).
///
/// # Panics
/// The two ends are of different versions of IP.
pub fn syn(ends: (IpAddr, IpAddr), ports: (u16, u16), more: u8, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    let answers = u32::from(more & flags::ACK != 0);
    segment(ends, ports, flags::SYN | more, (0, answers), (&[2, 4, high, low], &[]))
}

fn segment(
    ends: (IpAddr, IpAddr),
    ports: (u16, u16),
    flags: u8,
    numbers: (u32, u32),
    (options, payload): (&[u8], &[u8]),
) -> Vec<u8> {
    let header = 20 + options.len();
    let mut bytes = vec![0; 20];
    bytes.extend(options);
    bytes.extend(payload);
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(ports.0);
    packet.set_dst_port(ports.1);
    packet.set_seq_number(TcpSeqNumber(numbers.0 as i32));
    packet.set_ack_number(TcpSeqNumber(numbers.1 as i32));
    packet.set_header_len(header as u8);
    packet.set_window_len(1024);
    packet.into_inner()[13] = flags;
    TcpPacket::new_unchecked(&mut bytes)
        .fill_checksum(&IpAddress::from(ends.0), &IpAddress::from(ends.1));
    bytes
}

/// A datagram of UDP.
///
/// # Panics
/// The two ends are of different versions of IP, or it is longer than 65535 bytes.
pub fn udp(ends: (IpAddr, IpAddr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend(payload);
    let length = u16::try_from(bytes.len()).expect("a datagram of up to 65535 bytes");
    let mut packet = UdpPacket::new_unchecked(&mut bytes);
    packet.set_src_port(ports.0);
    packet.set_dst_port(ports.1);
    packet.set_len(length);
    packet.fill_checksum(&IpAddress::from(ends.0), &IpAddress::from(ends.1));
    bytes
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::TcpOption;

    use super::*;
    use crate::panel::raw::checksum;

    fn both() -> [(IpAddr, IpAddr); 2] {
        let ip = |text: &str| text.parse().unwrap();
        [(ip("10.20.1.2"), ip("10.20.2.2")), (ip("fd6f::1:2"), ip("fd6f::2:2"))]
    }

    #[test]
    fn a_segment_has_the_flags_that_it_is_told() {
        for ends in both() {
            for flags in 0..=255 {
                let bytes = tcp(ends, (4000, 80), flags, (0xdead_beef, 0xcafe_f00d), b"hi!");
                // All with the checksum in it adds up to nothing.
                assert_eq!(checksum::transport(ends, TCP, &bytes), 0);
                let read = TcpPacket::new_checked(&bytes[..]).unwrap();
                assert!(read.verify_checksum(&ends.0.into(), &ends.1.into()));
                assert_eq!((read.src_port(), read.dst_port()), (4000, 80));
                assert_eq!(read.seq_number().0 as u32, 0xdead_beef);
                assert_eq!(read.ack_number().0 as u32, 0xcafe_f00d);
                assert_eq!((read.header_len(), read.payload()), (20, &b"hi!"[..]));
                let found = [
                    (read.fin(), flags::FIN),
                    (read.syn(), flags::SYN),
                    (read.rst(), flags::RST),
                    (read.psh(), flags::PSH),
                    (read.ack(), flags::ACK),
                    (read.urg(), flags::URG),
                    (read.ece(), flags::ECE),
                    (read.cwr(), flags::CWR),
                ];
                let found = found.iter().filter(|(set, _)| *set).map(|(_, flag)| flag);
                assert_eq!(found.sum::<u8>(), flags);
            }
        }
    }

    #[test]
    fn who_begins_says_how_long_segments_may_be() {
        for ends in both() {
            for (more, answers) in [(0, 0), (flags::ACK, 1)] {
                let bytes = syn(ends, (4000, 80), more, 1460);
                assert_eq!(checksum::transport(ends, TCP, &bytes), 0);
                let read = TcpPacket::new_checked(&bytes[..]).unwrap();
                assert_eq!((read.header_len(), read.payload()), (24, &b""[..]));
                assert_eq!(
                    (read.syn(), read.ack(), read.ack_number().0),
                    (true, more != 0, answers)
                );
                let (_, option) = TcpOption::parse(read.options()).unwrap();
                assert_eq!(option, TcpOption::MaxSegmentSize(1460));
            }
        }
    }

    #[test]
    fn a_datagram_is_read_back() {
        for ends in both() {
            let bytes = udp(ends, (4000, 53), b"hello");
            assert_eq!(checksum::transport(ends, UDP, &bytes), 0);
            let read = UdpPacket::new_checked(&bytes[..]).unwrap();
            assert!(read.verify_checksum(&ends.0.into(), &ends.1.into()));
            assert_eq!((read.src_port(), read.dst_port()), (4000, 53));
            assert_eq!(read.payload(), b"hello");
        }
    }
}
