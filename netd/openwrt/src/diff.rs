//! The difference between a router and the plan, for people.

use octet_router::openwrt::change::UciChange;
use octet_router::openwrt::router::OpenwrtRouter;
use octet_router::plan::RouterPlan;

use crate::apply::ApplyError;
use crate::state::RouterState;
use crate::ubus::Ubus;

/// Conflicts, and sections to be added, changed and removed, one a line.
///
/// # Errors
/// The router cannot be read, or the plan cannot be applied to it.
pub fn diff(ubus: &mut Ubus, plan: &RouterPlan) -> Result<Vec<String>, ApplyError> {
    let RouterState { model, sections, .. } = RouterState::read(ubus)?;
    let router = OpenwrtRouter::of(model, sections, plan)?;
    Ok(UciChange::of(plan, &router).report(&router))
}
