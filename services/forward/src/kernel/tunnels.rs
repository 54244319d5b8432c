//! Tunnels for IPv4 from node to node (RFC 2473), for devices that leave by another node than their own. They go by
//! whichever path packets between the two nodes take.

use std::net::{Ipv4Addr, Ipv6Addr};

use octet_appliance::VPN_TABLE;
use rtnetlink::packet_route::IpProtocol;
use rtnetlink::packet_route::link::Ip6TunnelFlags;
use rtnetlink::{LinkIp6Tnl, LinkUnspec, RouteMessageBuilder};

use super::{ForwardKernel, KernelError, netlink, ours, set};

/// The device by which the devices of the lan leave; netd's rules know it.
pub const LEAVE: &str = "fvpn";

/// The header of IPv6, which a tunnel puts before each packet.
const HEADER: u32 = 40;

/// What a tunnel's packets begin their way with. They have one hop: the path.
const TTL: u8 = 64;

/// The nodes at both ends: this one, and the other.
pub type TunnelEnds = (Ipv6Addr, Ipv6Addr);

/// The device of the node that leaves by this one and has this place.
pub fn device(place: u8) -> String {
    format!("fx{place}")
}

impl ForwardKernel {
    /// Makes a tunnel that carries IPv4 and nothing else, or sees that it is there. Returns the number of its device.
    async fn tunnel(
        &self,
        name: &str,
        (near, far): TunnelEnds,
        path: u16,
    ) -> Result<u32, KernelError> {
        let device = LinkIp6Tnl::new(name).local(near).remote(far).protocol(IpProtocol::Ipip);
        // Nobody counts tunnels within tunnels: that would take another header.
        let device = device.set_flag(Ip6TunnelFlags::IgnEncapLimit, true);
        let made = self.route.link().add(device.ttl(TTL).build()).execute().await;
        made.or_else(netlink::there).map_err(KernelError::to(format!("make {name}")))?;
        self.fit(name, path).await?;
        set(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        self.up(name).await?;
        self.known(name).await
    }

    /// Has a tunnel carry what fits a path that takes packets of up to `path` bytes.
    pub async fn fit(&self, name: &str, path: u16) -> Result<(), KernelError> {
        let index = self.known(name).await?;
        let message = LinkUnspec::new_with_index(index).mtu(u32::from(path) - HEADER).build();
        let set = self.route.link().set(message).execute().await;
        set.map_err(KernelError::to(format!("set the MTU of {name}")))
    }

    /// Has what the devices of the lan send outside leave by a tunnel, with `address`, in packets of up to `path` bytes.
    pub async fn leave(
        &self,
        ends: TunnelEnds,
        path: u16,
        address: Ipv4Addr,
    ) -> Result<(), KernelError> {
        let index = self.tunnel(LEAVE, ends, path).await?;
        self.address(LEAVE, address.into(), 32).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().table_id(VPN_TABLE.into());
        let route = route.output_interface(index).protocol(ours()).build();
        let added = self.route.route().add(route).replace().execute().await;
        added.map_err(KernelError::to(format!("have the lan leave by {LEAVE}")))
    }

    /// Has `address` be behind a tunnel, of the place of this number.
    pub async fn place(
        &self,
        place: u8,
        ends: TunnelEnds,
        path: u16,
        address: Ipv4Addr,
    ) -> Result<(), KernelError> {
        let index = self.tunnel(&device(place), ends, path).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32);
        let route = route.output_interface(index).protocol(ours()).build();
        let added = self.route.route().add(route).replace().execute().await;
        added.map_err(KernelError::to(format!("make a route to {address}")))
    }
}
