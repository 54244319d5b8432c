//! Whether a router is what is wanted: its configuration, what its firewall leaves out of that, and what runs.

use octet_router::openwrt::sections::PREFIX;
use serde_json::json;

use crate::apply::ApplyError;
use crate::lacks::lacks;
use crate::state::RouterState;
use crate::ubus::{Ubus, UbusCall};
use crate::wanted::DesiredConfig;

/// What is not as wanted, a line each.
///
/// # Errors
/// The router does not say what it is, or the plan cannot be put on it.
pub fn verify(ubus: &mut Ubus, wanted: &DesiredConfig<'_>) -> Result<Vec<String>, ApplyError> {
    let state = RouterState::read(ubus)?;
    let (sections, change) = wanted.change(&state)?;
    let mut found = vec![];
    found.extend(change.conflicts.iter().map(|it| format!("in the way: {it}")));
    found.extend(change.half.iter().map(|it| format!("half of a change is there: {it}")));
    found.extend(change.lines.iter().map(|it| format!("not configured: {it}")));
    let args = json!({ "command": "/sbin/fw4", "params": ["check"] });
    let check = ubus.read(&[UbusCall { object: "file", method: "exec", args }])?.remove(0);
    if check["code"] != 0 {
        found.push(format!("the firewall's rules cannot be loaded: {}", check["stderr"]));
    }
    // It warns, and goes on without the rule.
    let warnings = check["stderr"].as_str().unwrap_or_default().lines();
    let ours = warnings.filter(|it| it.contains(&format!("Section {PREFIX}")));
    found.extend(ours.map(|it| format!("the firewall warns: {}", it.trim_start_matches("[!] "))));
    // What is not configured does not run either.
    if change.lines.is_empty() {
        found.extend(lacks(&sections, &state.live));
    }
    Ok(found)
}
