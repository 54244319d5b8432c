//! What a router is to be brought to.

use octet_router::openwrt::change::Change;
use octet_router::openwrt::router::{Router, RouterError};
use octet_router::openwrt::sections::sections;
use octet_router::openwrt::uci::Section;
use octet_router::plan::Plan;

use crate::state::State;

/// What is wanted of a router.
pub enum Wanted<'a> {
    /// What a plan says.
    Plan(&'a Plan),
    /// Nothing of ours.
    Nothing,
}

impl Wanted<'_> {
    /// The sections that are to be ours on the router, and what leads there.
    ///
    /// # Errors
    /// The plan cannot be put on it.
    pub fn change(&self, state: &State) -> Result<(Vec<Section>, Change), RouterError> {
        match self {
            Self::Plan(plan) => {
                let router = Router::of(state.model.clone(), state.sections.clone(), plan)?;
                Ok((sections(plan, &router), Change::of(plan, &router)))
            }
            Self::Nothing => Ok((vec![], Change::away(&state.sections))),
        }
    }
}
