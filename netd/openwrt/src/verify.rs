//! Verifies that a router is as desired: its configuration, rules that its firewall skips, and the
//! running state.

use octet_router::openwrt::sections::PREFIX;
use serde_json::json;

use crate::apply::ApplyError;
use crate::desired::DesiredConfig;
use crate::missing::missing;
use crate::state::RouterState;
use crate::ubus::{Ubus, UbusCall};

/// The differences from the desired state, one a line.
///
/// # Errors
/// The router cannot be read, or the plan cannot be applied to it.
pub fn verify(ubus: &mut Ubus, wanted: &DesiredConfig<'_>) -> Result<Vec<String>, ApplyError> {
    let state = RouterState::read(ubus)?;
    let (sections, change) = wanted.change(&state)?;
    let mut found = vec![];
    found.extend(change.conflicts.iter().map(|it| format!("conflict: {it}")));
    found.extend(change.half.iter().map(|it| format!("half of a change is there: {it}")));
    found.extend(change.lines.iter().map(|it| format!("not configured: {it}")));
    let args = json!({ "command": "/sbin/fw4", "params": ["check"] });
    let check = ubus.read(&[UbusCall { object: "file", method: "exec", args }])?.remove(0);
    if check["code"] != 0 {
        found.push(format!("the firewall's rules cannot be loaded: {}", check["stderr"]));
    }
    // fw4 warns, and continues without the rule.
    let warnings = check["stderr"].as_str().unwrap_or_default().lines();
    let ours = warnings.filter(|it| it.contains(&format!("Section {PREFIX}")));
    found.extend(ours.map(|it| format!("the firewall warns: {}", it.trim_start_matches("[!] "))));
    // Sections that are not configured cannot run.
    if change.lines.is_empty() {
        found.extend(missing(&sections, &state.live));
    }
    Ok(found)
}
