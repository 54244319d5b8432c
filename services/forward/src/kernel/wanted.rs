//! To which nodes packets were that have no way: the kernel tells it (nfnetlink_log), and drops them.

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

/// The group that packets are told to: by the number that forward's routes have, too.
pub const GROUP: u16 = PROTOCOL as u16;

/// What is told of a packet: the header of IPv6, whose last 16 bytes say to whom it is (RFC 8200, section 3).
const HEADER: u32 = 40;

pub struct DesiredState(TokioSocket);

impl DesiredState {
    /// From now on. There is one in a network namespace: until it is gone, no other.
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
            // Each at once.
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

    /// To whom the next packets were.
    ///
    /// # Errors
    /// The socket is broken, or more was told than there is room for.
    pub async fn next(&self) -> io::Result<Vec<Ipv6Addr>> {
        let (bytes, _) = self.0.recv_from_full().await?;
        Ok(told(&bytes))
    }
}

/// To whom the packets were of which `bytes` tell: messages one after the other.
fn told(mut bytes: &[u8]) -> Vec<Ipv6Addr> {
    let mut to = vec![];
    while let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(bytes) {
        if let NetlinkPayload::InnerMessage(message) = &message.payload
            && let NetfilterMessageInner::ULog(ULogMessage::Packet(told)) = &message.inner
        {
            to.extend(told.iter().filter_map(destination));
        }
        // Each begins at a multiple of four bytes.
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
        assert_eq!(told(&bytes), to);
        // What is no whole header of IPv6 says nothing.
        let mut other = packet(to[0]);
        other[0] = 0x45;
        assert_eq!(told(&message(other)), [] as [Ipv6Addr; 0]);
        assert_eq!(told(&message(packet(to[0])[..39].to_vec())), [] as [Ipv6Addr; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>, flips: Vec<(prop::sample::Index, u8)>) {
            told(&bytes);
            let mut bytes = message(packet("fc00::1".parse().unwrap()));
            for (at, by) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            told(&bytes);
        }
    }
}
