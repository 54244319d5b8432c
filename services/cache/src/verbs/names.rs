//! The verbs for names.

use std::time::Duration;

use iroh_blobs::Hash;
use octet_appliance::{InvalidNamePath, NamePath, ObjectName};
use octet_node::control::{Failure, FailureCode, PublicKey};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::counters::CacheCounters;
use crate::http::CacheState;
use crate::names::{NameRecord, ResolveOrigin, Unresolved};

/// The default and the maximum lifetime of a name, in seconds.
const TTL: u64 = 30 * DAY;
const MAX: u64 = 366 * DAY;
const DAY: u64 = 24 * 60 * 60;

pub(super) fn publish(
    (state, runtime, counters): (&CacheState, &Handle, &CacheCounters),
    path: NamePath,
    hash: Hash,
    ttl: Duration,
    is_renewed: bool,
) -> Result<Value, Failure> {
    let published = state.names.publish(path, hash, ttl, is_renewed);
    let record = runtime.block_on(published).map_err(|error| failure(&error))?;
    let mut shown = show(&record);
    if let Some(path) = runtime.block_on(state.folder_path(&record, counters)) {
        shown["folder_path"] = path.into();
    }
    Ok(shown)
}

/// The names of this node.
pub(super) fn list(state: &CacheState, runtime: &Handle) -> Result<Value, Failure> {
    let own = runtime.block_on(state.names.own()).map_err(|error| failure(&error))?;
    let rows = own.into_iter().map(|own| {
        let mut row = show(&own.record);
        row["renewed"] = own.ttl.is_some().into();
        row
    });
    Ok(rows.collect())
}

pub(super) fn resolve(
    state: &CacheState,
    runtime: &Handle,
    node: PublicKey,
    path: NamePath,
) -> Result<Value, Failure> {
    let resolved = state.names.resolve(node, path, ResolveOrigin::Operator);
    runtime.block_on(resolved).map(|record| show(&record)).map_err(|error| failure(&error))
}

/// The lifetime of a name for the argument `seconds`.
pub(super) fn time_to_live(seconds: Option<u64>) -> Result<Duration, Failure> {
    let seconds = seconds.unwrap_or(TTL);
    if (1..=MAX).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    let message = format!("a name cannot hold for {seconds} seconds");
    let help = format!("give 1 to {MAX} seconds");
    Err(Failure::new(FailureCode::BadArgument, message, help))
}

/// Parses a name into the node and the path.
pub(super) fn name(name: String) -> Result<(PublicKey, NamePath), Failure> {
    match ObjectName::try_from(name) {
        Ok(ObjectName { node, path }) => Ok((node, path)),
        Err(error) => Err(invalid(&error)),
    }
}

pub(super) fn path(text: String) -> Result<NamePath, Failure> {
    text.parse().map_err(|error: InvalidNamePath| invalid(&error))
}

fn invalid(error: &dyn std::error::Error) -> Failure {
    Failure::new(FailureCode::BadArgument, error.to_string(), "see docs/cache.md, \"Names\"")
}

fn show(record: &NameRecord) -> Value {
    let entry = record.entry();
    let name = format!("{}/{}", record.node(), entry.path);
    json!({
        "path": format!("/n/{name}"), "name": name, "hash": entry.hash.to_hex().to_string(),
        "sequence": entry.sequence, "expires": entry.expires,
    })
}

fn failure(error: &Unresolved) -> Failure {
    let (code, help) = match error {
        Unresolved::Unknown | Unresolved::Expired => {
            (FailureCode::NotFound, "`publish` it at its node")
        }
        Unresolved::Busy | Unresolved::NoKey => (FailureCode::Busy, "try it again in a moment"),
        Unresolved::Silent(_) => (FailureCode::Failed, "see which boards are off"),
        Unresolved::Store(_) | Unresolved::Broken(_) => {
            (FailureCode::Failed, "`logs cache` may say more")
        }
    };
    Failure::new(code, error.to_string(), help)
}
