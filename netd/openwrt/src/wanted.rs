//! What a router is to be brought to.

use octet_router::openwrt::change::UciChange;
use octet_router::openwrt::router::{OpenwrtRouter, RouterError};
use octet_router::openwrt::sections::sections;
use octet_router::openwrt::uci::UciSection;
use octet_router::plan::RouterPlan;

use crate::state::RouterState;

/// What is wanted of a router.
pub enum DesiredConfig<'a> {
    Plan(&'a RouterPlan),
    Nothing,
}

impl DesiredConfig<'_> {
    /// The sections that are to be ours on the router, and what leads there.
    ///
    /// # Errors
    /// The plan cannot be put on it.
    pub fn change(&self, state: &RouterState) -> Result<(Vec<UciSection>, UciChange), RouterError> {
        match self {
            Self::Plan(plan) => {
                let router = OpenwrtRouter::of(state.model.clone(), state.sections.clone(), plan)?;
                Ok((sections(plan, &router), UciChange::of(plan, &router)))
            }
            Self::Nothing => Ok((vec![], UciChange::away(&state.sections))),
        }
    }
}
