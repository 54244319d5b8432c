//! Path ends: end-to-end WireGuard devices, whose packets are labelled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::route::{RouteAttribute, RouteMetric};
use rtnetlink::{LinkWireguard, RouteMessageBuilder};

use super::links::IN;
use super::private::{self, PrivateEnd};
use super::wireguard::{OwnEnd, PeerConfig};
use super::{ForwardKernel, KernelError, netlink, ours};
use crate::mtu;

/// The device accepts the longest packets of any path; the MTU of a route over it is discovered.
const MTU: u32 = mtu::LONGEST_OF_PATH as u32;

/// A path end, as configured in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPathEnd {
    pub name: String,
    /// The local X25519 secret of this path.
    pub secret: [u8; 32],
    /// The peer's X25519 public key of this path.
    pub key: [u8; 32],
    /// The local outer address and port.
    pub near: (Ipv4Addr, u16),
    /// The remote outer address and port.
    pub far: (Ipv4Addr, u16),
    /// The inner addresses, local and remote.
    pub inner: (Ipv6Addr, Ipv6Addr),
    /// This node's address, and the peer's address once it is authenticated.
    pub nodes: (Ipv6Addr, Option<Ipv6Addr>),
    /// If the path is private, its throw-away address, which is then the one in `nodes`, and the node that was
    /// requested.
    pub private: Option<(PrivateEnd, Ipv6Addr)>,
}

impl ForwardKernel {
    /// Creates or updates an end, and returns its interface index. Its outgoing packets also need a label
    /// ([`push`](Self::push)).
    pub async fn open_end(&self, end: &KernelPathEnd) -> Result<u32, KernelError> {
        let name = &end.name;
        let device = LinkWireguard::new(name).mtu(MTU).build();
        let made = self.route.link().add(device).execute().await;
        made.or_else(netlink::ignore_exists).map_err(KernelError::to(format!("make {name}")))?;
        self.wireguard.own(OwnEnd { name, secret: end.secret, port: end.near.1 }).await?;
        self.set_endpoint(end).await?;
        self.address(IN, end.near.0.into(), 32).await?;
        self.address(name, end.inner.0.into(), 64).await?;
        let index = self.known(name).await?;
        match &end.private {
            None => self.address(IN, end.nodes.0.into(), 128).await?,
            Some((private, _)) => private.add_address(&self.route, index).await?,
        }
        self.up(name).await?;
        if let Some((private, other)) = &end.private {
            private.add_route(&self.route, index, *other).await?;
        }
        Ok(index)
    }

    /// Prepares for private paths of the node with the address `own`.
    pub async fn prepare_private(&self, own: Ipv6Addr) -> Result<(), KernelError> {
        private::prepare(&self.route, own).await
    }

    /// Configures the authenticated peer of an existing end.
    pub async fn set_endpoint(&self, end: &KernelPathEnd) -> Result<(), KernelError> {
        let mut addresses = vec![IpAddr::V6(end.inner.1)];
        addresses.extend(end.nodes.1.map(IpAddr::V6));
        let peer = PeerConfig { key: end.key, at: Some(end.far.into()), addresses, keepalive: 0 };
        self.wireguard.peer(&end.name, &peer).await
    }

    /// Removes an end, and the route between these addresses.
    pub async fn close_end(
        &self,
        name: &str,
        (near, far): (Ipv4Addr, Ipv4Addr),
        private: Option<PrivateEnd>,
    ) -> Result<(), KernelError> {
        self.remove(name).await?;
        if let Some(private) = private {
            private.forget(&self.route).await?;
        }
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(far, 32);
        let route = route.protocol(ours()).build();
        let removed =
            self.route.route().del(route).execute().await.or_else(netlink::ignore_missing);
        removed.map_err(KernelError::to(format!("remove the route to {far}")))?;
        self.no_address(IN, near).await
    }

    /// Routes packets from node `own` to node `other`, of at most `mtu` bytes, over the path of device `name`.
    pub async fn route_node(
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
