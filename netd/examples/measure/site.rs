//! A box as a file describes it.

use std::fs;

use octet_appliance::{Appliance, LinkName, NetworkSettings, Unit};
use octet_netd::port_bindings::PortBindings;
use octet_netd::router::plan::RouterPlan;
use octet_netd::rules::NodeTables;

use crate::Failed;

pub const NO_CLUSTER: &str = "the file has no [cluster]";

/// The configuration of its router.
pub struct Site {
    pub network: NetworkSettings,
    pub plan: RouterPlan,
    units: Vec<Unit>,
}

impl Site {
    pub fn read(file: &str, units: &[Unit]) -> Result<Self, Failed> {
        let text = fs::read_to_string(file)?;
        let appliance = Appliance::parse(file, &text)?;
        let settings = appliance.cluster_settings().ok_or(NO_CLUSTER)?;
        let plan = RouterPlan::new(&settings, units)?;
        Ok(Self { network: appliance.network, plan, units: units.to_vec() })
    }

    /// The rules as netd makes them of a router whose uplink has a fixed address.
    pub fn rules(&self) -> NodeTables {
        NodeTables::router(&self.plan, &self.units, &PortBindings::default(), false)
    }

    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.plan.devices().map(LinkName::as_str)
    }
}
