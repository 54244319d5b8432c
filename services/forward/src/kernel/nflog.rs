//! Destinations of packets without a route: the kernel reports them (nfnetlink_log) and drops them.

use std::io;
use std::net::Ipv6Addr;

use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigMode, ConfigNla, PacketNla, ULogMessage, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::{KernelError, PROTOCOL};

/// The log group; it equals the protocol number of `forward`'s routes.
pub const GROUP: u16 = PROTOCOL as u16;

/// The logged length of a packet: the IPv6 header, whose last 16 bytes are the destination (RFC 8200, section
/// 3).
const HEADER: u32 = 40;

pub struct NflogSocket(TokioSocket);

impl NflogSocket {
    /// Starts listening. A network namespace has one listener: another one fails until the first is closed.
    pub async fn open() -> Result<Self, KernelError> {
        let opened = Self::try_open().await;
        opened.map_err(KernelError::to("be told who is wanted"))
    }

    async fn try_open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind_auto()?;
        let settings = vec![
            ConfigCmd::Bind.into(),
            ConfigMode::new_packet(HEADER).into(),
            // Report each packet immediately.
            ConfigNla::QThresh(1),
        ];
        let request = config_request(NetfilterProtoFamily::Unspec, GROUP, settings);
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        socket.send_to(&bytes, &SocketAddr::new(0, 0)).await?;
        let (answer, _) = socket.recv_from_full().await?;
        let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&answer);
        match answer.map_err(io::Error::other)?.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            _ => Ok(Self(socket)),
        }
    }

    /// Waits for packets, and returns their destinations.
    ///
    /// # Errors
    /// The socket failed, or its buffer overflowed.
    pub async fn next(&self) -> io::Result<Vec<Ipv6Addr>> {
        let (bytes, _) = self.0.recv_from_full().await?;
        Ok(parse(&bytes))
    }
}

/// The destinations in `bytes`, a sequence of netlink messages.
fn parse(mut bytes: &[u8]) -> Vec<Ipv6Addr> {
    let mut to = vec![];
    while let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(bytes) {
        if let NetlinkPayload::InnerMessage(message) = &message.payload
            && let NetfilterMessageInner::ULog(ULogMessage::Packet(told)) = &message.inner
        {
            to.extend(told.iter().filter_map(destination));
        }
        // Messages are aligned to four bytes.
        let length = (message.header.length as usize).next_multiple_of(4);
        match bytes.get(length..) {
            Some(rest) if length > 0 => bytes = rest,
            _ => break,
        }
    }
    to
}

fn destination(told: &PacketNla) -> Option<Ipv6Addr> {
    let PacketNla::Payload(packet) = told else { return None };
    let bytes: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    (packet[0] >> 4 == 6).then(|| bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_netfilter::NetfilterHeader;
    use proptest::prelude::*;
    use rtnetlink::packet_core::NetlinkHeader;

    fn message(packet: Vec<u8>) -> Vec<u8> {
        let told = ULogMessage::Packet(vec![PacketNla::Mark(7), PacketNla::Payload(packet)]);
        let header = NetfilterHeader::new(NetfilterProtoFamily::NetDev, 0, GROUP);
        let inner = NetfilterMessage::new(header, told);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), inner.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
        message.serialize(&mut bytes);
        bytes
    }

    fn packet(to: Ipv6Addr) -> Vec<u8> {
        let mut bytes = vec![0; 41];
        bytes[0] = 0x60;
        bytes[24..40].copy_from_slice(&to.octets());
        bytes
    }

    #[test]
    fn all_that_are_told_at_once() {
        let to: Vec<Ipv6Addr> = ["fc00::1", "fcff::2"].map(|it| it.parse().unwrap()).into();
        let bytes: Vec<u8> = to.iter().flat_map(|it| message(packet(*it))).collect();
        assert_eq!(parse(&bytes), to);
        // A truncated IPv6 header is ignored.
        let mut other = packet(to[0]);
        other[0] = 0x45;
        assert_eq!(parse(&message(other)), [] as [Ipv6Addr; 0]);
        assert_eq!(parse(&message(packet(to[0])[..39].to_vec())), [] as [Ipv6Addr; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>, flips: Vec<(prop::sample::Index, u8)>) {
            parse(&bytes);
            let mut bytes = message(packet("fc00::1".parse().unwrap()));
            for (at, by) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            parse(&bytes);
        }
    }
}
