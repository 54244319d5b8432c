//! The desired configuration of a router.

use octet_router::openwrt::change::UciChange;
use octet_router::openwrt::router::{OpenwrtRouter, RouterError};
use octet_router::openwrt::sections::sections;
use octet_router::openwrt::uci::UciSection;
use octet_router::plan::RouterPlan;

use crate::state::RouterState;

/// What a router's configuration should be.
pub enum DesiredConfig<'a> {
    Plan(&'a RouterPlan),
    Nothing,
}

impl DesiredConfig<'_> {
    /// Our desired sections for the router, and the changes that lead there.
    ///
    /// # Errors
    /// The plan cannot be applied to it.
    pub fn change(&self, state: &RouterState) -> Result<(Vec<UciSection>, UciChange), RouterError> {
        match self {
            Self::Plan(plan) => {
                let router = OpenwrtRouter::of(state.model.clone(), state.sections.clone(), plan)?;
                Ok((sections(plan, &router), UciChange::of(plan, &router)))
            }
            Self::Nothing => Ok((vec![], UciChange::removal(&state.sections))),
        }
    }
}
