//! The status of the whole box: one row for the router if it is the coordinator, and one for each
//! board.

use octet_node::links::LinkTraffic;
use serde_json::{Value, json};

use super::{Coordinator, CoordinatorError};
use crate::report::NodeReport;
use crate::status_row::{SeenByCoordinator, with_report};

impl Coordinator {
    /// The status table; `traffic` has the ports' counters, or why they are unknown.
    ///
    /// # Errors
    /// The settings have no cluster.
    pub fn status(
        &self,
        traffic: &Result<Vec<LinkTraffic>, String>,
    ) -> Result<Value, CoordinatorError> {
        let rules = self.rules()?;
        let (registry, connections) = (self.registry.borrow(), self.connected.borrow());
        // The router, if it is the coordinator; a coordinator that is a board is in the table
        // already.
        let router = Some(registry.number).filter(|number| !rules.numbers().contains(number));
        let nodes = router.into_iter().chain(rules.numbers()).map(|number| {
            let line = connections.status(number);
            let (connected, last_seen, has) = self.connection_state(number);
            let row = json!({
                "number": number,
                "state": self.state(number, &rules),
                "connected": connected,
                "last_seen": last_seen,
                "heard_seconds": self.heard_seconds(number),
                "has_map": has,
            });
            let report =
                self.last_report(number).as_ref().map(NodeReport::from_json).unwrap_or_default();
            let port = traffic.iter().flatten().find(|port| port.board == Some(number));
            let refused = line.and_then(|line| line.refused.as_ref()).map(|last| &*last.reason);
            with_report(row, &report, &SeenByCoordinator { port, refused })
        });
        let nodes: Vec<Value> = nodes.collect();
        let mut status = json!({
            "role": "coordinator",
            "number": registry.number,
            "node": registry.coordinator,
            "epoch": registry.version.epoch,
            "sequence": registry.version.sequence,
        });
        if let Err(problem) = traffic {
            status["trouble"] = format!("`netd` does not tell of the ports: {problem}").into();
        }
        status["nodes"] = nodes.into();
        Ok(status)
    }
}
