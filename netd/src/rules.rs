//! The ruleset of a node, and the transaction that loads it.

use octet_appliance::Unit;

use crate::fault;
use crate::host::Inbound;
use crate::on_board::OnBoard;
use crate::paths::{Lets, PathDevices};
use crate::plugged::PortBindings;
use crate::router::firewall::{self, There};
use crate::router::guard;
use crate::router::plan::RouterPlan;
use crate::router::table::NftTable;

/// The nftables tables of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeTables {
    /// A node that forwards nothing.
    Host(Inbound),
    Router {
        /// The table that checks frames at each port.
        guard: NftTable,
        firewall: NftTable,
    },
}

impl NodeTables {
    /// The tables of a router with `units` and the port bindings `plugged`. `leased` says whether
    /// the uplink uses DHCP.
    pub fn router(plan: &RouterPlan, units: &[Unit], plugged: &PortBindings, leased: bool) -> Self {
        let forward = PathDevices::of(units, Lets::default());
        Self::Router {
            guard: guard::table(plan, plugged, leased),
            firewall: firewall::table(plan, &OnBoard::of(units), forward.as_ref(), leased),
        }
    }

    /// The transaction that loads all tables over the chains in `there`. There is no moment without
    /// rules or with half of them, and counters keep their values. A node that forwards nothing
    /// ignores `there`: it has no chains of removed rules.
    pub fn whole(&self, there: &There) -> String {
        match self {
            Self::Host(inbound) => inbound.text(),
            Self::Router { firewall, .. } if fault::is("unguarded") => {
                firewall.whole(there.gone(firewall))
            }
            Self::Router { guard, firewall } => {
                guard.whole([].into_iter()) + &firewall.whole(there.gone(firewall))
            }
        }
    }

    /// The transaction that changes the ruleset from `before` to this one; empty if they are equal.
    /// `None`: only [`whole`](Self::whole) can do it.
    pub fn change(&self, before: &Self) -> Option<String> {
        match (self, before) {
            (now, before) if now == before => Some(String::new()),
            (
                Self::Router { guard, firewall },
                Self::Router { guard: guard_before, firewall: firewall_before },
            ) => Some(guard.change(guard_before)? + &firewall.change(firewall_before)?),
            _ => None,
        }
    }
}
