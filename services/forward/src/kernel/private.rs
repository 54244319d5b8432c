//! Private paths in the kernel. The throw-away address is on the path's own device `fpp<N>`, and packets from it
//! are routed by a table of their own. nftables' chains keep both apart from all else of this node.

use std::net::Ipv6Addr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, CacheInfo};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMetric};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use super::{KernelError, meter, netlink, ours};
use crate::engine::PathNumber;
use crate::introduction::PORT;
use crate::mtu::MIN_OF_PATH;

/// The routing table of path 0; each path has its own.
const TABLES: u32 = 202 << 16;

/// The priority of the rules, before that of the main table (32766).
const PRIORITY: u32 = 202;

/// An address with this lifetime does not expire (`INFINITY_LIFE_TIME`).
const FOR_EVER: u32 = u32::MAX;

/// The chains. They name devices by their prefix, and as sources all addresses of nodes but this node's, so they
/// hold before a path is up, and after it has ended.
///
/// - Nothing but what has the throw-away address of that very path leaves by a private path, and that leaves by
///   no other device: its end, or the end of another path, would learn whose address it is.
/// - Nothing is accepted from a private path but answers, and the messages of `forward` between the ends. Anything
///   else that this node answers could tell which node it is: a service, or an ICMP error, which the kernel sends
///   from the node's own address by another path. The latter is sent before the packet is routed, so the chain is
///   before that.
/// - A packet for a throw-away address by another device is dropped: an answer would tell who has that address.
const FRAME: &str = "table inet octet_forward {
  set own { type ipv6_addr; }
  set private { type ifname . ipv6_addr; size 64; }
  set throw_away { type ipv6_addr; size 64; }
  chain private_out { type filter hook output priority filter; policy accept; }
  chain private_in { type filter hook prerouting priority mangle; policy accept; }
  chain from_private { }
}
flush set inet octet_forward own
flush set inet octet_forward private
flush set inet octet_forward throw_away
flush chain inet octet_forward private_out
flush chain inet octet_forward private_in
flush chain inet octet_forward from_private
table inet octet_forward {
  set own { type ipv6_addr; elements = { $own } }
  chain private_out {
    oifname lo accept
    oifname \"fpp*\" ip6 saddr fe80::/10 udp sport $port udp dport $port accept
    oifname . ip6 saddr @private accept
    oifname \"fpp*\" drop
    ip6 saddr fc00::/8 ip6 saddr != @own drop
  }
  chain private_in {
    iifname lo accept
    iifname \"fpp*\" goto from_private
    ip6 daddr @throw_away drop
  }
  chain from_private {
    ip6 daddr fe80::/10 udp sport $port udp dport $port accept
    iifname . ip6 daddr @private ct state { established, related } accept
    drop
  }
}
";

/// A private path at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivateEnd {
    pub number: PathNumber,
    /// The throw-away address.
    pub own: Ipv6Addr,
}

impl PrivateEnd {
    pub fn device(&self) -> String {
        format!("fpp{}", self.number)
    }

    fn table(&self) -> u32 {
        TABLES | u32::from(self.number.0)
    }

    /// Routes packets from the throw-away address by the path's table.
    fn rule(&self) -> RuleMessage {
        let mut rule = RuleMessage::default();
        rule.header.family = AddressFamily::Inet6;
        rule.header.src_len = 128;
        rule.header.action = RuleAction::ToTable;
        rule.attributes = vec![
            RuleAttribute::Source(self.own.into()),
            RuleAttribute::Table(self.table()),
            RuleAttribute::Priority(PRIORITY),
        ];
        rule
    }

    /// Gives the device the throw-away address, and lets packets with it pass there.
    ///
    /// # Errors
    /// nft cannot be run, or the kernel refuses.
    pub async fn add_address(&self, handle: &Handle, index: u32) -> Result<(), KernelError> {
        self.elements(&["add"]).await?;
        let mut add = handle.address().add(index, self.own.into(), 128);
        // Without duplicate address detection it can be used at once. It is deprecated, so the kernel chooses it for
        // no packet of itself (RFC 6724, section 5, rule 3), and iroh does not tell peers that this node has it.
        let (mut life, attributes) = (CacheInfo::default(), &mut add.message_mut().attributes);
        life.ifa_valid = FOR_EVER;
        attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        attributes.push(AddressAttribute::CacheInfo(life));
        let added = add.execute().await.or_else(netlink::ignore_exists);
        added.map_err(KernelError::to(format!("give {} {}", self.device(), self.own)))
    }

    /// Routes packets from the throw-away address to `other` over the device, which is up.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_route(
        &self,
        handle: &Handle,
        index: u32,
        other: Ipv6Addr,
    ) -> Result<(), KernelError> {
        let mut rule = handle.rule().add();
        *rule.message_mut() = self.rule();
        let added = rule.execute().await.or_else(netlink::ignore_exists);
        added.map_err(KernelError::to(format!("route packets from {} apart", self.own)))?;
        let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(other, 128);
        let route = route.table_id(self.table()).output_interface(index);
        let mut route = route.pref_source(self.own).protocol(ours()).build();
        // All paths take packets of this length: it is not probed, so no probe is seen.
        let metrics = vec![RouteMetric::Mtu(MIN_OF_PATH.into())];
        route.attributes.push(RouteAttribute::Metrics(metrics));
        let added = handle.route().add(route).replace().execute().await;
        added.map_err(KernelError::to(format!("make a private route to {other}")))
    }

    /// Removes what is left once the device is gone, and with it the address and the route.
    ///
    /// # Errors
    /// nft cannot be run, or the kernel refuses.
    pub async fn forget(&self, handle: &Handle) -> Result<(), KernelError> {
        let removed = handle.rule().del(self.rule()).execute().await;
        removed
            .or_else(netlink::ignore_missing)
            .map_err(KernelError::to(format!("forget {}", self.own)))?;
        // What is not there cannot be deleted, so it is added first.
        self.elements(&["add", "delete"]).await
    }

    async fn elements(&self, verbs: &[&str]) -> Result<(), KernelError> {
        let (device, own) = (self.device(), self.own);
        let change = |verb: &&str| {
            let set = |set: &str, element: &str| {
                format!("{verb} element inet octet_forward {set} {{ {element} }}\n")
            };
            set("private", &format!("\"{device}\" . {own}")) + &set("throw_away", &own.to_string())
        };
        let changes: String = verbs.iter().map(change).collect();
        meter::run(&[&changes]).await.map(drop)
    }
}

/// Creates or updates the chains of the node with the address `own`, and removes the rules of a previous daemon: its
/// private paths end.
///
/// # Errors
/// nft cannot be run, or the kernel refuses.
pub async fn prepare(handle: &Handle, own: Ipv6Addr) -> Result<(), KernelError> {
    let frame = FRAME.replace("$own", &own.to_string()).replace("$port", &PORT.to_string());
    meter::run(&[&frame]).await?;
    let failed = || KernelError::to("remove the rules of earlier private paths");
    let rules = handle.rule().get(IpVersion::V6).execute();
    let rules: Vec<RuleMessage> = rules.try_collect().await.map_err(failed())?;
    for rule in rules.into_iter().filter(is_ours) {
        let removed = handle.rule().del(rule).execute().await;
        removed.or_else(netlink::ignore_missing).map_err(failed())?;
    }
    Ok(())
}

fn is_ours(rule: &RuleMessage) -> bool {
    let is_table = |it: &RuleAttribute| matches!(it, RuleAttribute::Table(table) if table >> 16 == TABLES >> 16);
    rule.attributes.iter().any(is_table)
        && rule.attributes.contains(&RuleAttribute::Priority(PRIORITY))
}
