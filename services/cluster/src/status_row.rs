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
    row["failed"] = json!(Some(&report.failed).filter(|failed| !failed.is_empty()));
    row["memory"] = json!(report.memory);
    row["total"] = json!(report.total);
    row["cpu_percent"] = json!(report.cpu);
    row["temperature_celsius"] = json!(report.temperature);
    row["refused"] = json!(refused);
    row
}
