//! Which node is plugged into each board's port. Where the configuration does not name it, it is
//! the first that has requested an address by DHCP since the link came up, as the unit `lan`
//! reports it, until the link goes down.

use std::collections::BTreeMap;

use octet_appliance::{LinkName, Mac};

use crate::observed::{NetworkDevice, Observed};
use crate::router::plan::{RouterPlan, RouterSegment};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundNode {
    pub mac: Mac,
    /// The link's carrier-down count when the node was reported ([`NetworkDevice::carrier_downs`]).
    pub downs: u32,
}

/// All bindings, by the router's device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortBindings(BTreeMap<LinkName, BoundNode>);

/// A report that is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReport {
    /// No board's port has this name.
    #[error("`{0}` is not a port of a board")]
    NoPort(String),
    #[error("`{0}` is not an Ethernet address of a device")]
    NoMac(String),
    /// `[[board]] mac` names another address.
    #[error("the settings name {0} for this port")]
    Said(Mac),
    #[error("nothing is plugged in there")]
    Down,
    #[error("the port is bound to {0} until its link goes down")]
    Held(Mac),
    /// The address is bound to another port, or is the router's own.
    #[error("{mac} is at {at}")]
    Elsewhere { mac: Mac, at: String },
}

impl PortBindings {
    /// The node bound at the port `device`, if the configuration does not name it.
    pub fn at(&self, device: &LinkName) -> Option<BoundNode> {
        self.0.get(device).copied()
    }

    /// The Ethernet address of the board in `segment`, as far as it is known.
    pub fn mac(&self, segment: &RouterSegment) -> Option<Mac> {
        segment.mac.or_else(|| Some(self.at(&segment.device)?.mac))
    }

    /// Removes bindings whose link has gone down since. Returns whether there were any.
    pub fn forget(&mut self, plan: Option<&RouterPlan>, observed: &Observed) -> bool {
        let before = self.0.len();
        self.0.retain(|device, held| {
            let is_port = plan.is_some_and(|plan| board(plan, device.as_str()).is_some());
            let link = observed.links.iter().find(|link| link.name == device.as_str());
            is_port && link.is_some_and(|link| link.carrier && link.carrier_downs == held.downs)
        });
        self.0.len() != before
    }

    /// Binds `mac`, which has requested an address by DHCP, to `device`. Returns whether the
    /// binding is new.
    ///
    /// # Errors
    /// The report is rejected; the bindings stay as they were.
    pub fn report(
        &mut self,
        plan: &RouterPlan,
        observed: &Observed,
        device: &str,
        mac: &str,
    ) -> Result<bool, InvalidReport> {
        let segment =
            board(plan, device).ok_or_else(|| InvalidReport::NoPort(device.to_owned()))?;
        let mac =
            Mac::try_from(mac.to_owned()).map_err(|_| InvalidReport::NoMac(mac.to_owned()))?;
        match segment.mac {
            Some(said) if said == mac => return Ok(false),
            Some(said) => return Err(InvalidReport::Said(said)),
            None => {}
        }
        let link = observed.links.iter().find(|link| link.name == device);
        let link = link.filter(|link| link.carrier).ok_or(InvalidReport::Down)?;
        let elsewhere = plan.boards.iter().filter(|other| other.device != segment.device);
        let elsewhere = { elsewhere }.find(|other| self.mac(other) == Some(mac));
        let router = |link: &&NetworkDevice| link.mac() == Some(mac.bytes());
        let elsewhere = elsewhere
            .map(|other| other.device.to_string())
            .or_else(|| observed.links.iter().find(router).map(|link| link.name.clone()));
        if let Some(at) = elsewhere {
            return Err(InvalidReport::Elsewhere { mac, at });
        }
        match self.at(&segment.device) {
            Some(held) if held.downs != link.carrier_downs => {}
            Some(held) if held.mac == mac => return Ok(false),
            Some(held) => return Err(InvalidReport::Held(held.mac)),
            None => {}
        }
        self.0.insert(segment.device.clone(), BoundNode { mac, downs: link.carrier_downs });
        Ok(true)
    }
}

impl FromIterator<(LinkName, BoundNode)> for PortBindings {
    fn from_iter<I: IntoIterator<Item = (LinkName, BoundNode)>>(held: I) -> Self {
        Self(held.into_iter().collect())
    }
}

fn board<'a>(plan: &'a RouterPlan, device: &str) -> Option<&'a RouterSegment> {
    plan.boards.iter().find(|board| board.device.as_str() == device)
}

#[cfg(test)]
mod tests;
