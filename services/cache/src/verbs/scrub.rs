//! The verbs for what is verified on the disk.

use octet_node::control::{ColumnKind, Permission, Verb};
use serde_json::{Value, json};

use crate::http::CacheState;

pub(super) fn verb(name: &str, permission: Permission, help: &str) -> Verb {
    Verb::new(name, permission, help).columns(ColumnKind::Date, &["started", "finished"])
}

/// How far the objects are verified, and which are damaged.
pub(super) fn status(state: &CacheState, repaired: u64) -> Value {
    let progress = state.scrubber.progress();
    let damaged = state.objects.policy().damaged();
    let damaged: Vec<String> = damaged.iter().map(|hash| hash.to_hex().to_string()).collect();
    json!({
        "state": if progress.is_running { "running" } else { "waiting" },
        "started": progress.started, "finished": progress.finished,
        "objects": progress.objects, "bytes": progress.bytes, "damaged": damaged,
        "found": state.scrubber.found.get(), "repaired": repaired,
    })
}
