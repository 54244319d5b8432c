//! Connected, waiting and refused nodes: volatile state that is not in the registry.

use std::collections::BTreeMap;
use std::rc::Rc;

use octet_node::control::PublicKey;
use octet_node::map::MapVersion;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::registry::{Candidate, JoinDecision};

#[derive(Debug, Default)]
pub struct ConnectedNodes {
    boards: BTreeMap<u8, NumberStatus>,
}

/// The volatile state of one number.
#[derive(Debug, Default)]
pub struct NumberStatus {
    /// The board's connection.
    pub connected: Option<NodeConnection>,
    /// The connection of a node that waits for approval, and its data.
    pub pending: Option<(NodeConnection, Candidate)>,
    /// When the board last sent a message, in seconds since 1970.
    pub last_seen: Option<u64>,
    /// The same by a clock that is never set.
    pub heard: Option<Instant>,
    /// The version of its map.
    pub map_version: Option<MapVersion>,
    /// Its last report.
    pub report: Option<Map<String, Value>>,
    /// The node that was refused since the board was last connected.
    pub refused: Option<RefusedNode>,
}

/// A connection; notifying it ends it.
pub type NodeConnection = Rc<Notify>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedNode {
    pub count: u64,
    pub node: PublicKey,
    pub reason: String,
}

impl ConnectedNodes {
    /// The state of `number`.
    pub fn status(&self, number: u8) -> Option<&NumberStatus> {
        self.boards.get(&number)
    }

    /// The node that waits at `number`.
    pub fn pending_candidate(&self, number: u8) -> Option<Candidate> {
        self.boards.get(&number)?.pending.as_ref().map(|(_, candidate)| candidate.clone())
    }

    /// Registers the connection of `candidate` with its `verdict`. A connection that it replaces
    /// ends.
    pub fn connect(
        &mut self,
        number: u8,
        connection: &NodeConnection,
        candidate: &Candidate,
        verdict: JoinDecision,
    ) {
        let status = self.boards.entry(number).or_default();
        let old = match verdict {
            JoinDecision::Welcome => {
                status.pending.take_if(|(pending, _)| Rc::ptr_eq(pending, connection));
                status.refused = None;
                status.connected.replace(Rc::clone(connection))
            }
            JoinDecision::Pending => {
                let pending = (Rc::clone(connection), candidate.clone());
                status.pending.replace(pending).map(|(connection, _)| connection)
            }
        };
        if let Some(old) = old.filter(|old| !Rc::ptr_eq(old, connection)) {
            old.notify_one();
        }
    }

    /// Unregisters a connection that has ended.
    pub fn disconnect(&mut self, number: u8, connection: &NodeConnection) {
        let Some(status) = self.boards.get_mut(&number) else { return };
        status.connected.take_if(|there| Rc::ptr_eq(there, connection));
        status.pending.take_if(|(there, _)| Rc::ptr_eq(there, connection));
    }

    /// Handles a message of the board at `now`.
    pub fn record_message(&mut self, number: u8, now: u64, update: impl FnOnce(&mut NumberStatus)) {
        let status = self.boards.entry(number).or_default();
        status.last_seen = Some(now);
        status.heard = Some(Instant::now());
        update(status);
    }

    /// Records that `node` was refused. Returns whether to log it: a new refusal is logged,
    /// repetitions ever more rarely.
    pub fn record_refusal(&mut self, number: u8, node: PublicKey, reason: String) -> bool {
        let status = self.boards.entry(number).or_default();
        let same =
            status.refused.as_ref().filter(|last| last.node == node && last.reason == reason);
        let is_new = same.is_none();
        let count = status.refused.as_ref().map_or(0, |last| last.count) + 1;
        status.refused = Some(RefusedNode { count, node, reason });
        is_new || count.is_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: u8) -> Candidate {
        Candidate {
            claims: None,
            node: PublicKey::new([key; 32]),
            key_epoch: 1,
            certificates: vec![],
            complete: true,
        }
    }

    #[test]
    fn one_connection_of_a_board_and_one_that_waits() {
        let (mut connected, new) = (ConnectedNodes::default(), || Rc::new(Notify::new()));
        let (board, pending, again) = (new(), new(), new());
        connected.connect(1, &board, &candidate(1), JoinDecision::Welcome);
        connected.connect(1, &pending, &candidate(2), JoinDecision::Pending);
        assert_eq!(connected.pending_candidate(1), Some(candidate(2)));
        assert_eq!((Rc::strong_count(&board), Rc::strong_count(&pending)), (2, 2));
        connected.connect(1, &again, &candidate(1), JoinDecision::Welcome);
        assert_eq!(Rc::strong_count(&board), 1);
        // A replaced connection that ends does not affect its successor.
        connected.disconnect(1, &board);
        assert!(connected.status(1).unwrap().connected.is_some());
        connected.connect(1, &pending, &candidate(2), JoinDecision::Welcome);
        assert_eq!(connected.pending_candidate(1), None);
        connected.disconnect(1, &pending);
        assert!(connected.status(1).unwrap().connected.is_none());
    }

    #[test]
    fn a_refusal_is_said_when_it_is_new_and_then_rarely() {
        let mut connected = ConnectedNodes::default();
        let key = PublicKey::new([1; 32]);
        let said: Vec<u64> =
            (1..=20).filter(|_| connected.record_refusal(1, key, "no".into())).collect();
        assert_eq!(said, [1, 2, 4, 8, 16]);
        assert!(connected.record_refusal(1, key, "never".into()));
        assert!(connected.record_refusal(1, PublicKey::new([2; 32]), "never".into()));
        assert_eq!(connected.status(1).unwrap().refused.as_ref().unwrap().count, 22);
        connected.connect(1, &Rc::new(Notify::new()), &candidate(1), JoinDecision::Welcome);
        assert_eq!(connected.status(1).unwrap().refused, None);
    }
}
