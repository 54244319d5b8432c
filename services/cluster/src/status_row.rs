//! A node's row of the status table (`status --box`).

use octet_node::links::LinkTraffic;
use serde_json::{Value, json};

use crate::report::NodeReport;

/// What the coordinator knows of a node beyond its report.
#[derive(Debug, Default)]
pub struct SeenByCoordinator<'a> {
    /// The counters of the router's port, if the coordinator is the router.
    pub port: Option<&'a LinkTraffic>,
    /// Why a node was refused at this port.
    pub refused: Option<&'a str>,
}

/// Adds a node's report, its port's counters, and the reason of a refusal to `row`. Bytes are those
/// that the node has received and sent: its own counters, unless the router has counted them.
pub fn with_report(mut row: Value, report: &NodeReport, seen: &SeenByCoordinator<'_>) -> Value {
    let SeenByCoordinator { port, refused } = seen;
    row["link"] = json!(port.map(|port| if port.carrier { "up" } else { "down" }));
    row["received"] = json!(port.map_or(report.received, |port| Some(port.sent_bytes)));
    row["sent"] = json!(port.map_or(report.sent, |port| Some(port.received_bytes)));
    row["box"] = json!(report.state);
    row["uptime"] = json!(report.uptime);
    row["ready"] = json!(report.ready);
    // Without a report it is not known whether a unit has failed.
    row["failed"] = json!(report.state.as_ref().map(|_| &report.failed));
    row["memory"] = json!(report.memory);
    row["total"] = json!(report.total);
    row["cpu_percent"] = json!(report.cpu);
    row["temperature_celsius"] = json!(report.temperature);
    row["refused"] = json!(refused);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_units_are_known_only_from_a_report() {
        let failed = |status: Value| {
            let report = NodeReport::from_status(&status);
            with_report(json!({}), &report, &SeenByCoordinator::default())["failed"].clone()
        };
        assert_eq!(failed(json!({})), Value::Null);
        assert_eq!(failed(json!({ "state": "ready", "units": [] })), json!([]));
        let unit = json!({ "name": "lan", "state": "failed" });
        assert_eq!(failed(json!({ "state": "degraded", "units": [unit] })), json!(["lan"]));
    }
}
