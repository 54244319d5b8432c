//! The ends of paths: WireGuard from end to end, whose packets go and come with labels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::route::{RouteAttribute, RouteMetric};
use rtnetlink::{LinkWireguard, RouteMessageBuilder};

use super::links::IN;
use super::wireguard::{OwnEnd, PeerConfig};
use super::{ForwardKernel, KernelError, netlink, ours};
use crate::mtu;

/// The device takes the longest packets that any path takes; what a route by it takes is found out.
const MTU: u32 = mtu::LONGEST_OF_PATH as u32;

/// The end of a path, as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPathEnd {
    pub name: String,
    /// The own secret of this path (X25519).
    pub secret: [u8; 32],
    /// The other end's public key of this path (X25519).
    pub key: [u8; 32],
    /// The address and the port where the other end's packets leave the label path.
    pub near: (Ipv4Addr, u16),
    /// Those of the other end.
    pub far: (Ipv4Addr, u16),
    /// The addresses of both ends within: of the link itself.
    pub inner: (Ipv6Addr, Ipv6Addr),
    /// This node's address, and that of the node at the other end once it has shown who it is.
    pub nodes: (Ipv6Addr, Option<Ipv6Addr>),
}

impl ForwardKernel {
    /// Makes an end, or sees that it is as it should be, and gives the number of its device. What it sends needs a label besides
    /// ([`push`](Self::push)).
    pub async fn end(&self, end: &KernelPathEnd) -> Result<u32, KernelError> {
        let name = &end.name;
        let device = LinkWireguard::new(name).mtu(MTU).build();
        let made = self.route.link().add(device).execute().await;
        made.or_else(netlink::there).map_err(KernelError::to(format!("make {name}")))?;
        self.wireguard.own(OwnEnd { name, secret: end.secret, port: end.near.1 }).await?;
        self.far(end).await?;
        self.address(IN, end.near.0.into(), 32).await?;
        self.address(IN, end.nodes.0.into(), 128).await?;
        self.address(name, end.inner.0.into(), 64).await?;
        self.up(name).await?;
        self.known(name).await
    }

    /// Has an end that there is know the node at the other one.
    pub async fn far(&self, end: &KernelPathEnd) -> Result<(), KernelError> {
        let mut addresses = vec![IpAddr::V6(end.inner.1)];
        addresses.extend(end.nodes.1.map(IpAddr::V6));
        let peer = PeerConfig { key: end.key, at: Some(end.far.into()), addresses, keepalive: 0 };
        self.wireguard.peer(&end.name, &peer).await
    }

    /// Removes an end, and what goes from the first of these addresses to the other.
    pub async fn no_end(
        &self,
        name: &str,
        (near, far): (Ipv4Addr, Ipv4Addr),
    ) -> Result<(), KernelError> {
        self.remove(name).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(far, 32);
        let route = route.protocol(ours()).build();
        let removed = self.route.route().del(route).execute().await.or_else(netlink::gone);
        removed.map_err(KernelError::to(format!("remove the route to {far}")))?;
        self.no_address(IN, near).await
    }

    /// Has packets from the node `own` to the node `other`, of at most `mtu` bytes, take the path of the device `name`.
    pub async fn node(
        &self,
        name: &str,
        own: Ipv6Addr,
        other: Ipv6Addr,
        mtu: u16,
    ) -> Result<(), KernelError> {
        let index = self.known(name).await?;
        let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(other, 128);
        let route = route.output_interface(index).pref_source(own).protocol(ours());
        let mut route = route.build();
        route.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu.into())]));
        let added = self.route.route().add(route).replace().execute().await;
        added.map_err(KernelError::to(format!("make a route to {other}")))
    }
}
