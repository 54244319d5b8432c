//! IPv4-in-IPv6 tunnels between nodes (RFC 2473), for LANs that use another node as their exit. They use the
//! route between the two nodes.

use std::net::{Ipv4Addr, Ipv6Addr};

use octet_appliance::VPN_TABLE;
use rtnetlink::packet_route::IpProtocol;
use rtnetlink::packet_route::link::Ip6TunnelFlags;
use rtnetlink::{LinkIp6Tnl, LinkUnspec, RouteMessageBuilder};

use super::{ForwardKernel, KernelError, netlink, ours, set};

/// The tunnel device to the LAN's exit; netd's rules name it.
pub const LEAVE: &str = "fvpn";

/// The IPv6 header that the tunnel adds.
const HEADER: u32 = 40;

/// The initial TTL of a tunnel's packets. They pass one IP hop: the path.
const TTL: u8 = 64;

/// The nodes at both ends: local and remote.
pub type TunnelEnds = (Ipv6Addr, Ipv6Addr);

/// The device of the client with this slot.
pub fn device(place: u8) -> String {
    format!("fx{place}")
}

impl ForwardKernel {
    /// Creates a tunnel for IPv4 only, unless it exists. Returns its interface index.
    async fn tunnel(
        &self,
        name: &str,
        (near, far): TunnelEnds,
        path: u16,
    ) -> Result<u32, KernelError> {
        let device = LinkIp6Tnl::new(name).local(near).remote(far).protocol(IpProtocol::Ipip);
        // The encapsulation limit would need another header; tunnels are not nested.
        let device = device.set_flag(Ip6TunnelFlags::IgnEncapLimit, true);
        let made = self.route.link().add(device.ttl(TTL).build()).execute().await;
        made.or_else(netlink::ignore_exists).map_err(KernelError::to(format!("make {name}")))?;
        self.set_tunnel_mtu(name, path).await?;
        set(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        self.up(name).await?;
        self.known(name).await
    }

    /// Sets a tunnel's MTU to fit a path with the MTU `path`.
    pub async fn set_tunnel_mtu(&self, name: &str, path: u16) -> Result<(), KernelError> {
        let index = self.known(name).await?;
        let message = LinkUnspec::new_with_index(index).mtu(u32::from(path) - HEADER).build();
        let set = self.route.link().set(message).execute().await;
        set.map_err(KernelError::to(format!("set the MTU of {name}")))
    }

    /// Routes the LAN's outbound traffic through a tunnel, with `address`, over a path with the MTU `path`.
    pub async fn open_exit(
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

    /// Routes `address` into the tunnel of the client with this slot.
    pub async fn open_client(
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
