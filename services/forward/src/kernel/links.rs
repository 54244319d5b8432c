//! Links to neighbours: one WireGuard device for all, and for each neighbour an MPLS-in-IP tunnel, within
//! WireGuard or plain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMetric};
use rtnetlink::packet_route::{AddressFamily, IpProtocol};
use rtnetlink::{LinkIpIp, LinkUnspec, LinkVeth, LinkWireguard, RouteMessageBuilder};

use super::labels::OUT;
use super::wireguard::{OwnEnd, PeerConfig};
use super::{ForwardKernel, KernelError, netlink, ours, set};
use crate::label::HIGHEST;
use crate::mtu;
use octet_node::address::NETWORK;

/// The WireGuard device for all neighbours.
pub const LINKS: &str = "fwg";

/// The device that decapsulated packets are received from.
pub const IN: &str = "fin";

/// `IPPROTO_MPLS`: MPLS in IP (RFC 4023).
const MPLS_IN_IP: u8 = 137;

/// Links have IPv4 addresses only.
const LINKS_MTU: u32 = mtu::LINK as u32;

/// Without the IPv4 header. The kernel subtracts the label itself.
const TUNNEL_MTU: u32 = LINKS_MTU - 20;

/// The MTU of a tunnel on a plain link.
const PLAIN_MTU: u32 = 1500 - 20;

/// The initial TTL of a tunnel's packets. They pass one IP hop: within WireGuard, or through the router.
const TTL: u8 = 64;

/// The MAC address of both ends of the pair, so that each accepts the other's frames. It is locally
/// administered (IEEE 802, bit 1 of the first byte), and never on a wire.
const PAIR: [u8; 6] = [2, 0x6f, 0x63, 0x74, 0x65, 0x74];

/// The WireGuard keepalive interval, in seconds.
const KEEPALIVE: u16 = 25;

/// The link to one neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    pub name: String,
    /// The neighbour's X25519 key.
    pub key: [u8; 32],
    /// The WireGuard endpoint, if it is configured; otherwise WireGuard learns it.
    pub at: Option<SocketAddr>,
    /// The address of this node on the link.
    pub near: Ipv4Addr,
    pub far: Ipv4Addr,
    /// For a plain link, the two addresses of the tunnel outside WireGuard.
    pub plain: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl ForwardKernel {
    /// Creates what all links and paths need, if it is missing.
    pub async fn prepare(&self, secret: [u8; 32], port: u16) -> Result<(), KernelError> {
        set("mpls/platform_labels", &HIGHEST.to_string())?;
        let link = self.route.link();
        let made = link.add(LinkWireguard::new(LINKS).mtu(LINKS_MTU).build()).execute().await;
        made.or_else(netlink::ignore_exists).map_err(KernelError::to(format!("make {LINKS}")))?;
        self.wireguard.own(OwnEnd { name: LINKS, secret, port }).await?;
        let made = self.route.link().add(LinkVeth::new(OUT, IN).build()).execute().await;
        made.or_else(netlink::ignore_exists)
            .map_err(KernelError::to(format!("make {OUT} and {IN}")))?;
        for name in [OUT, IN] {
            let index = self.known(name).await?;
            let message = LinkUnspec::new_with_index(index).address(PAIR.to_vec()).arp(false).up();
            let message = message.build();
            let set = self.route.link().set(message).execute().await;
            set.map_err(KernelError::to(format!("switch {name} on")))?;
        }
        self.up(LINKS).await
    }

    /// Routes packets to nodes without a path to [`OUT`], with the source `own`. They are dropped on arrival
    /// and reported through nfnetlink ([`NflogSocket`](super::nflog::NflogSocket)).
    pub async fn catch_unrouted(&self, own: Ipv6Addr) -> Result<(), KernelError> {
        self.address(IN, own.into(), 128).await?;
        let index = self.known(OUT).await?;
        let (nodes, prefix) = NETWORK;
        let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(nodes, prefix);
        let route = route.output_interface(index).pref_source(own).protocol(ours()).build();
        let added = self.route.route().add(route).replace().execute().await;
        added.map_err(KernelError::to("make a route to all nodes"))
    }

    pub(super) async fn up(&self, name: &str) -> Result<(), KernelError> {
        let message = LinkUnspec::new_with_index(self.known(name).await?).up().build();
        let up = self.route.link().set(message).execute().await;
        up.map_err(KernelError::to(format!("switch {name} on")))
    }

    /// Adds an address to a device, unless it has it.
    pub(super) async fn address(
        &self,
        name: &str,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), KernelError> {
        let index = self.known(name).await?;
        let mut add = self.route.address().add(index, address, prefix);
        if address.is_ipv6() {
            // Duplicate address detection (RFC 4862, 5.4) is pointless here, and the kernel accepts no route
            // with this source until it ends.
            let flags = AddressAttribute::Flags(AddressFlags::Nodad);
            add.message_mut().attributes.push(flags);
        }
        let added = add.execute().await;
        added
            .or_else(netlink::ignore_exists)
            .map_err(KernelError::to(format!("give {name} {address}")))
    }

    /// Removes an address from a device.
    pub(super) async fn no_address(
        &self,
        name: &str,
        address: Ipv4Addr,
    ) -> Result<(), KernelError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = self.known(name).await?;
        message.attributes.push(AddressAttribute::Local(address.into()));
        let removed =
            self.route.address().del(message).execute().await.or_else(netlink::ignore_missing);
        removed.map_err(KernelError::to(format!("take {address} from {name}")))
    }

    /// Creates a link, or updates it. It accepts no labels until [`start`](Self::start).
    pub async fn open(&self, tunnel: &Tunnel) -> Result<(), KernelError> {
        let Tunnel { name, key, at, near, far, plain } = tunnel;
        self.address(LINKS, (*near).into(), 32).await?;
        self.set_link_mtu((*near, *far), mtu::LINK).await?;
        let peer =
            PeerConfig { key: *key, at: *at, addresses: vec![(*far).into()], keepalive: KEEPALIVE };
        self.wireguard.peer(LINKS, &peer).await?;
        let within = ((*near, *far), TUNNEL_MTU);
        let ((local, remote), mtu) = plain.map_or(within, |ends| (ends, PLAIN_MTU));
        let device = LinkIpIp::new(name).local(local).remote(remote).ttl(TTL);
        let device = device.protocol(IpProtocol::from(MPLS_IN_IP)).mtu(mtu).build();
        let made = self.route.link().add(device).execute().await;
        made.or_else(netlink::ignore_exists).map_err(KernelError::to(format!("make {name}")))
    }

    /// Limits packets between the `ends` of a link to `mtu` bytes. WireGuard pads no packet beyond that.
    pub async fn set_link_mtu(
        &self,
        (near, far): (Ipv4Addr, Ipv4Addr),
        mtu: u16,
    ) -> Result<(), KernelError> {
        let index = self.known(LINKS).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(far, 32);
        let route = route.output_interface(index).pref_source(near).protocol(ours());
        let mut route = route.build();
        route.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu.into())]));
        let added = self.route.route().add(route).replace().execute().await;
        added.map_err(KernelError::to(format!("make a route to {far}")))
    }

    /// Makes a link accept labels. Its ingress filter must be installed first.
    pub async fn start(&self, name: &str) -> Result<(), KernelError> {
        set(&format!("mpls/conf/{name}/input"), "1")?;
        self.up(name).await
    }

    /// Removes a link. Labels over it are dropped.
    pub async fn close(&self, tunnel: &Tunnel) -> Result<(), KernelError> {
        self.remove(&tunnel.name).await?;
        self.forget(tunnel.key).await
    }

    /// Removes the WireGuard peer with this key, if [`prepare`](Self::prepare) was called.
    pub async fn forget(&self, key: [u8; 32]) -> Result<(), KernelError> {
        self.wireguard.forget(LINKS, key).await
    }
}
