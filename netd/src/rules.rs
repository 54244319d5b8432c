//! What the kernel is to let, and the transaction that has it do so.

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

/// The tables of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeTables {
    /// A node that hands nothing on.
    Host(Inbound),
    Router {
        /// What a frame has to be.
        guard: NftTable,
        firewall: NftTable,
    },
}

impl NodeTables {
    /// Those of a router with `units`, and with who is `plugged` in. `leased` says whether the uplink's
    /// address is asked for by DHCP.
    pub fn router(plan: &RouterPlan, units: &[Unit], plugged: &PortBindings, leased: bool) -> Self {
        let forward = PathDevices::of(units, Lets::default());
        Self::Router {
            guard: guard::table(plan, plugged, leased),
            firewall: firewall::table(plan, &OnBoard::of(units), forward.as_ref(), leased),
        }
    }

    /// The transaction that makes all of it stand, where there is `there`. There is no moment without
    /// rules and none with half of them, and counters go on. A node that hands nothing on has no lines
    /// that could be gone, so what is there is nothing to it.
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

    /// The transaction that makes all of it stand where `before` does; empty if that is the same. `None`:
    /// only the whole of it will do.
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
