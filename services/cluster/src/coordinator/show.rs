//! The coordinator's state for operators.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use octet_node::control::PublicKey;
use serde_json::{Map, Value, json};

use super::{Coordinator, CoordinatorError};
use crate::registry::{AdminError, NumberState};
use crate::rules::EnrolmentRules;

impl Coordinator {
    /// The table of boards, with waiting and refused nodes.
    ///
    /// # Errors
    /// The settings have no cluster.
    pub fn show(&self) -> Result<Value, CoordinatorError> {
        let rules = self.rules()?;
        let registry = self.registry.borrow();
        let boards: Vec<Value> = rules.numbers().map(|number| self.row(number, &rules)).collect();
        let mut shown = json!({
            "role": "coordinator",
            "number": registry.number,
            "node": registry.coordinator,
            "epoch": registry.version.epoch,
            "sequence": registry.version.sequence,
            "enrol": rules.enrol(),
            "replaces": registry.replaces(),
            "revoked": registry.revoked(),
            "boards": boards,
            "others": rules.numbers().flat_map(|number| self.not_enrolled(number)).collect::<Vec<_>>(),
        });
        if let Err(problem) = self.check_appointment(&registry, &rules) {
            shown["trouble"] = format!("{problem}: {}", problem.help()).into();
        }
        Ok(shown)
    }

    /// The details of board `number`, with its last report.
    pub fn show_board(&self, number: u8) -> Result<Value, CoordinatorError> {
        let rules = self.rules()?;
        if !rules.numbers().contains(&number) {
            return Err(AdminError::NoBoard(number).into());
        }
        let mut row = self.row(number, &rules);
        row["to be replaced"] = self.registry.borrow().is_to_be_replaced(number).into();
        row["report"] = json!(self.last_report(number));
        row["others"] = self.not_enrolled(number).into();
        Ok(row)
    }

    /// The last report of node `number`; for the coordinator itself, the current one.
    pub(super) fn last_report(&self, number: u8) -> Option<Map<String, Value>> {
        if number == self.registry.borrow().number {
            return Some(self.node.report.borrow().to_json());
        }
        self.connected.borrow().status(number)?.report.clone()
    }

    /// The state of `number`.
    pub(super) fn state(&self, number: u8, rules: &EnrolmentRules) -> &'static str {
        let (registry, connections) = (self.registry.borrow(), self.connected.borrow());
        let status = connections.status(number);
        if number == registry.number {
            return if registry.is_drained(number) { "drained" } else { "coordinator" };
        }
        match registry.state(number, rules) {
            NumberState::Enrolled if registry.is_drained(number) => "drained",
            NumberState::Enrolled => "enrolled",
            NumberState::Revoked => "revoked",
            _ if status.is_some_and(|status| status.pending.is_some()) => "pending",
            _ if status.is_some_and(|status| status.refused.is_some()) => "refused",
            NumberState::Forbidden => "refused",
            NumberState::Free => "none",
        }
    }

    /// Whether node `number` is connected, when it last sent a message, and its map's version.
    pub(super) fn connection_state(&self, number: u8) -> (bool, Option<String>, Option<u64>) {
        let registry = self.registry.borrow();
        if number == registry.number {
            return (true, None, Some(registry.version.sequence));
        }
        let connections = self.connected.borrow();
        let Some(status) = connections.status(number) else { return (false, None, None) };
        let has = status.map_version.map(|has| has.sequence);
        (status.connected.is_some(), status.last_seen.map(date), has)
    }

    /// The seconds since node `number` last sent a message; `None` if it has sent none since this
    /// service started.
    pub(super) fn heard_seconds(&self, number: u8) -> Option<u64> {
        if number == self.registry.borrow().number {
            return Some(0);
        }
        Some(self.connected.borrow().status(number)?.heard?.elapsed().as_secs())
    }

    fn row(&self, number: u8, rules: &EnrolmentRules) -> Value {
        let registry = self.registry.borrow();
        let member = registry.enrolled(number);
        let own = Some(registry.coordinator).filter(|_| number == registry.number);
        let (connected, last_seen, has) = self.connection_state(number);
        json!({
            "board": number,
            "state": self.state(number, rules),
            "node": own.or_else(|| member.map(|member| member.node)),
            "connected": connected,
            "last_seen": last_seen,
            "has_map": has,
            "since": member.map(|member| date(member.since)),
            "by": member.map(|member| member.how),
        })
    }

    /// The nodes that wait or were refused at `number`.
    fn not_enrolled(&self, number: u8) -> Vec<Value> {
        let connections = self.connected.borrow();
        let Some(status) = connections.status(number) else { return vec![] };
        let row = |is: &str, key: PublicKey, times: Option<u64>, why: &str| json!({ "board": number, "is": is, "times": times, "key": key, "why": why });
        let pending = status.pending.as_ref().map(|(_, candidate)| {
            row("waiting", candidate.node, None, &format!("`cluster approve {number}` takes it"))
        });
        let refused = status.refused.as_ref();
        let refused = refused.map(|it| row("refused", it.node, Some(it.count), &it.reason));
        pending.into_iter().chain(refused).collect()
    }
}

fn date(seconds: u64) -> String {
    // humantime formats no year beyond 9999.
    let seconds = seconds.min(253_402_300_799);
    format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
