//! MPLS routes (RFC 3032): swap, pop and push.

use std::net::Ipv4Addr;

use futures_util::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{
    MplsLabel, RouteAddress, RouteAttribute, RouteLwEnCapType, RouteLwTunnelEncap, RouteMessage,
    RouteMplsIpTunnel,
};

use super::{ForwardKernel, KernelError, netlink, ours};
use crate::label::Label;

/// The device that decapsulated packets are sent to.
pub const OUT: &str = "fout";

fn label(label: Label) -> MplsLabel {
    MplsLabel { label: label.get(), traffic_class: 0, bottom_of_stack: true, ttl: 0 }
}

impl ForwardKernel {
    /// Swaps label `from` for `to`, and sends through the device `by`.
    ///
    /// # Errors
    /// The kernel refuses, or there is no such device.
    pub async fn swap(&self, from: Label, to: Label, by: &str) -> Result<(), KernelError> {
        let index = self.known(by).await?;
        let route = RouteMessageBuilder::<MplsLabel>::new().label(label(from));
        let route = route.output_mpls(vec![label(to)]).output_interface(index).protocol(ours());
        let failed = KernelError::to(format!("swap label {from} for {to} by {by}"));
        self.route.route().add(route.build()).replace().execute().await.map_err(failed)
    }

    /// Pops label `from` at the end of its path.
    pub async fn pop(&self, from: Label) -> Result<(), KernelError> {
        let index = self.known(OUT).await?;
        let route = RouteMessageBuilder::<MplsLabel>::new().label(label(from));
        let route = route.output_interface(index).protocol(ours());
        let failed = KernelError::to(format!("end a path at label {from}"));
        self.route.route().add(route.build()).replace().execute().await.map_err(failed)
    }

    /// Pushes label `with` on packets from `source` to `address`, with the TTL `ttl`, and sends them through
    /// the device `by`.
    pub async fn push(
        &self,
        (address, source): (Ipv4Addr, Ipv4Addr),
        (with, ttl): (Label, u8),
        by: &str,
    ) -> Result<(), KernelError> {
        let index = self.known(by).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32);
        let route = route.output_interface(index).pref_source(source).protocol(ours());
        let mut route = route.build();
        let how = vec![
            RouteLwTunnelEncap::Mpls(RouteMplsIpTunnel::Destination(vec![label(with)])),
            RouteLwTunnelEncap::Mpls(RouteMplsIpTunnel::Ttl(ttl)),
        ];
        route.attributes.push(RouteAttribute::EncapType(RouteLwEnCapType::Mpls));
        route.attributes.push(RouteAttribute::Encap(how));
        let failed = KernelError::to(format!("send {address} with label {with} by {by}"));
        self.route.route().add(route).replace().execute().await.map_err(failed)
    }

    /// Removes the route of label `from`.
    pub async fn remove_label(&self, from: Label) -> Result<(), KernelError> {
        let route = RouteMessageBuilder::<MplsLabel>::new().label(label(from)).build();
        let removed =
            self.route.route().del(route).execute().await.or_else(netlink::ignore_missing);
        removed.map_err(KernelError::to(format!("remove label {from}")))
    }

    /// All labels with a route of `forward`.
    ///
    /// # Errors
    /// The kernel refuses the dump.
    pub async fn labels(&self) -> Result<Vec<Label>, KernelError> {
        let all = RouteMessageBuilder::<MplsLabel>::new().build();
        let found = self.route.route().get(all).execute().try_collect::<Vec<_>>().await;
        let found = found.map_err(KernelError::to("list labels"))?;
        Ok(found.iter().filter(|it| it.header.protocol == ours()).filter_map(of).collect())
    }
}

fn of(route: &RouteMessage) -> Option<Label> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Mpls(label)) => Label::new(label.label),
        _ => None,
    })
}
