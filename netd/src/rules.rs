//! The ruleset of a node, and the transaction that loads it.

use octet_appliance::Unit;

use crate::fault;
use crate::host::Inbound;
use crate::on_board::OnBoard;
use crate::paths::{BoardAllows, PathDevices};
use crate::port_bindings::PortBindings;
use crate::router::firewall::{self, LoadedChains};
use crate::router::guard;
use crate::router::plan::RouterPlan;
use crate::router::table::NftTable;
use crate::watch;

/// The nftables tables of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTables {
    /// The table of a router that checks frames at each port.
    guard: Option<NftTable>,
    firewall: NftTable,
}

impl NodeTables {
    /// The tables of a node that forwards nothing.
    pub fn host(inbound: &Inbound) -> Self {
        Self { guard: None, firewall: inbound.table() }
    }

    /// The tables of a router with `units` and the port bindings `plugged`. `leased` says whether
    /// the uplink uses DHCP.
    pub fn router(plan: &RouterPlan, units: &[Unit], plugged: &PortBindings, leased: bool) -> Self {
        let forward = PathDevices::of(units, BoardAllows::default());
        Self {
            guard: Some(guard::table(plan, plugged, leased)),
            firewall: firewall::table(plan, &OnBoard::of(units), forward.as_ref(), leased),
        }
    }

    /// Whether the tables have chains of policies, which go when the policy does.
    pub fn is_router(&self) -> bool {
        self.guard.is_some()
    }

    /// The transaction that loads all tables over the chains in `there`. There is no moment without
    /// rules or with half of them, and counters keep their values. On a node that is no router it
    /// removes the guard of one that was a router before, and any watch table: a netd that has just
    /// started records nothing.
    pub fn whole(&self, there: &LoadedChains) -> String {
        let guard = match &self.guard {
            None => format!(
                "table netdev {0} {{ }}\ndelete table netdev {0}\n{1}",
                guard::TABLE,
                watch::end()
            ),
            Some(_) if fault::is("unguarded") => String::new(),
            Some(guard) => guard.whole([].into_iter()),
        };
        guard + &self.firewall.whole(there.removed(&self.firewall))
    }

    /// The transaction that changes the ruleset from `before` to this one; empty if they are equal.
    /// `None`: only [`whole`](Self::whole) can do it.
    pub fn change(&self, before: &Self) -> Option<String> {
        let guard = match (&self.guard, &before.guard) {
            (None, None) => String::new(),
            (Some(now), Some(before)) => now.change(before)?,
            _ => return None,
        };
        Some(guard + &self.firewall.change(&before.firewall)?)
    }
}
