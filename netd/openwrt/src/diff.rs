//! What stands between a router and a plan, for a person.

use octet_router::openwrt::change::Change;
use octet_router::openwrt::router::Router;
use octet_router::plan::Plan;

use crate::apply::ApplyError;
use crate::state::State;
use crate::ubus::Ubus;

/// What stands in the way, and what is to come, change and go, a line each.
///
/// # Errors
/// The router does not say what it is, or the plan cannot be put on it.
pub fn diff(ubus: &mut Ubus, plan: &Plan) -> Result<Vec<String>, ApplyError> {
    let State { model, sections, .. } = State::read(ubus)?;
    let router = Router::of(model, sections, plan)?;
    Ok(Change::of(plan, &router).report(&router))
}
