//! Keys and peers of WireGuard devices, by generic netlink (Documentation/netlink/specs/wireguard.yaml).

use std::io;
use std::net::{IpAddr, SocketAddr};

use curve25519_dalek::scalar::clamp_integer;
use futures_util::StreamExt;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute,
    WireguardCmd, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use rtnetlink::proto::{ConnectionHandle, new_connection};
use rtnetlink::sys::{SocketAddr as Kernel, protocols::NETLINK_GENERIC};

use super::KernelError;

#[derive(Debug, Clone)]
pub struct Wireguard {
    handle: ConnectionHandle<GenlMessage<WireguardMessage>>,
    family: u16,
}

#[derive(Clone, Copy)]
pub struct OwnEnd<'a> {
    pub name: &'a str,
    /// The X25519 secret.
    pub secret: [u8; 32],
    /// The UDP listening port.
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The X25519 public key.
    pub key: [u8; 32],
    /// The endpoint; `None` if it is learned from received packets.
    pub at: Option<SocketAddr>,
    /// The allowed IPs: single addresses.
    pub addresses: Vec<IpAddr>,
    /// The keepalive interval in seconds; 0: none.
    pub keepalive: u16,
}

impl Wireguard {
    pub async fn connect() -> Result<Self, KernelError> {
        let failed = || KernelError::to("ask the kernel for WireGuard");
        let (connection, handle, _) = new_connection(NETLINK_GENERIC).map_err(failed())?;
        tokio::spawn(connection);
        Ok(Self { handle, family: family().await.map_err(failed())? })
    }

    /// Sets a device's own key and port. Sessions survive if they are unchanged.
    pub async fn own(&self, own: OwnEnd<'_>) -> Result<(), KernelError> {
        let failed = KernelError::to(format!("give {} its key", own.name));
        self.set(side(own)).await.map_err(failed)
    }

    /// Adds or updates a peer of the device `name`. Addresses are only added: removing them first would drop
    /// packets.
    pub async fn peer(&self, name: &str, peer: &PeerConfig) -> Result<(), KernelError> {
        let addresses = peer.addresses.iter().map(allowed).collect();
        let mut attributes = vec![
            WireguardPeerAttribute::PublicKey(peer.key),
            WireguardPeerAttribute::PersistentKeepalive(peer.keepalive),
            WireguardPeerAttribute::AllowedIps(addresses),
        ];
        attributes.extend(peer.at.map(WireguardPeerAttribute::Endpoint));
        self.set(of(name, attributes))
            .await
            .map_err(KernelError::to(format!("add a peer to {name}")))
    }

    pub async fn forget(&self, name: &str, key: [u8; 32]) -> Result<(), KernelError> {
        let attributes = vec![
            WireguardPeerAttribute::PublicKey(key),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
        ];
        let failed = KernelError::to(format!("remove a peer from {name}"));
        self.set(of(name, attributes)).await.map_err(failed)
    }

    async fn set(&self, attributes: Vec<WireguardAttribute>) -> io::Result<()> {
        let message = WireguardMessage { cmd: WireguardCmd::SetDevice, attributes };
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        ask(&self.handle, message).await.map(drop)
    }
}

fn side(own: OwnEnd<'_>) -> Vec<WireguardAttribute> {
    vec![
        WireguardAttribute::IfName(own.name.into()),
        // The kernel compares the key with its clamped one, and drops all sessions if they differ
        // (wg_set_device in drivers/net/wireguard/netlink.c).
        WireguardAttribute::PrivateKey(clamp_integer(own.secret)),
        WireguardAttribute::ListenPort(own.port),
    ]
}

fn of(name: &str, peer: Vec<WireguardPeerAttribute>) -> Vec<WireguardAttribute> {
    let peers = vec![WireguardPeer(peer)];
    vec![WireguardAttribute::IfName(name.into()), WireguardAttribute::Peers(peers)]
}

fn allowed(address: &IpAddr) -> WireguardAllowedIp {
    let (family, bits) = match address {
        IpAddr::V4(_) => (WireguardAddressFamily::Ipv4, 32),
        IpAddr::V6(_) => (WireguardAddressFamily::Ipv6, 128),
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(*address),
        WireguardAllowedIpAttr::Cidr(bits),
    ])
}

/// The generic netlink family id of WireGuard.
async fn family() -> io::Result<u16> {
    let (connection, handle, _) = new_connection(NETLINK_GENERIC)?;
    let connection = tokio::spawn(connection);
    let name = GenlCtrlAttrs::FamilyName(WireguardMessage::family_name().into());
    let question = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] };
    let answers = ask(&handle, GenlMessage::from_payload(question)).await;
    connection.abort();
    let id = answers?.iter().flat_map(|it| &it.payload.nlas).find_map(|nla| match nla {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    });
    id.ok_or_else(|| io::Error::other("the kernel has no WireGuard"))
}

/// Sends a request and collects all answers.
async fn ask<T>(
    handle: &ConnectionHandle<GenlMessage<T>>,
    message: GenlMessage<T>,
) -> io::Result<Vec<GenlMessage<T>>>
where
    T: std::fmt::Debug + GenlFamily,
    GenlMessage<T>: NetlinkSerializable + NetlinkDeserializable,
{
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut answers = handle.request(message, Kernel::new(0, 0)).map_err(io::Error::other)?;
    let mut found = vec![];
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(inner) => found.push(inner),
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The kernel clamps keys (RFC 7748, 5), so they are clamped before the comparison.
        #[test]
        fn a_key_is_what_the_kernel_keeps(secret: [u8; 32]) {
            let said = side(OwnEnd { name: "fwg", secret, port: 51820 });
            let found = said.iter().find_map(|it| match it {
                WireguardAttribute::PrivateKey(key) => Some(*key),
                _ => None,
            });
            let saved = found.unwrap();
            prop_assert_eq!([saved[0] & 7, saved[31] & 0xc0], [0, 0x40]);
            prop_assert_eq!(crate::exchange::public(&saved), crate::exchange::public(&secret));
        }
    }
}
