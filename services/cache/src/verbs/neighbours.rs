//! The verbs about nodes of other boxes.

use octet_node::control::{Failure, FailureCode, PublicKey};
use octet_node::serve::verbs::{VerbArgs, text};
use serde_json::{Value, json};

use crate::counters::CacheCounters;
use crate::neighbours::{NeighbourNode, Neighbours, ObjectTrafficRow};

pub(super) fn node_key() -> VerbArgs<PublicKey> {
    text("node", "The neighbour's key (a did:key)").parse(|key| {
        key.parse().map_err(|_| {
            let help = "`cache traffic` shows the keys of neighbours";
            Failure::new(FailureCode::BadArgument, format!("`{key}` is not a public key"), help)
        })
    })
}

pub(super) fn traffic(neighbours: &Neighbours) -> Value {
    let row = |NeighbourNode { name, node, .. }| {
        let ObjectTrafficRow { bought, served, limit } = neighbours.traffic.of(&node);
        json!({
            "neighbour": name, "bought": bought, "served": served, "limit": limit,
            "node": node, "epoch": neighbours.traffic.epoch(),
        })
    };
    neighbours.list().into_iter().map(row).collect()
}

/// Limits how far the bytes that a neighbour is served may grow. The limit is in force when this returns.
pub(super) fn limit(
    neighbours: &Neighbours,
    node: PublicKey,
    limit: Option<u64>,
) -> Result<Value, Failure> {
    if !neighbours.has(&node) {
        let help = "`cache traffic` lists those of this board";
        return Err(Failure::new(FailureCode::NotFound, format!("{node} is no neighbour"), help));
    }
    neighbours.traffic.set_limit(node, limit);
    Ok(Value::Null)
}

/// The rows of `stats`.
pub(super) fn stats(neighbours: &Neighbours, counters: &CacheCounters) -> Vec<Value> {
    let row = |NeighbourNode { name, node, .. }| {
        let dealt = counters.outcomes(node);
        let ObjectTrafficRow { bought, served, limit } = neighbours.traffic.of(&node);
        json!({
            "neighbour": name, "gave": dealt.sent, "lacked": dealt.missing, "silent": dealt.timeouts,
            "wrong": dealt.invalid, "given": served, "bought": bought, "limit": limit,
        })
    };
    neighbours.list().into_iter().map(row).collect()
}
