//! What stands between a router and a plan, for a person.

use octet_router::openwrt::change::UciChange;
use octet_router::openwrt::router::OpenwrtRouter;
use octet_router::plan::RouterPlan;

use crate::apply::ApplyError;
use crate::state::RouterState;
use crate::ubus::Ubus;

/// What stands in the way, and what is to come, change and go, a line each.
///
/// # Errors
/// The router does not say what it is, or the plan cannot be put on it.
pub fn diff(ubus: &mut Ubus, plan: &RouterPlan) -> Result<Vec<String>, ApplyError> {
    let RouterState { model, sections, .. } = RouterState::read(ubus)?;
    let router = OpenwrtRouter::of(model, sections, plan)?;
    Ok(UciChange::of(plan, &router).report(&router))
}
