//! `get --private`.

use iroh_blobs::Hash;
use octet_node::control::{Failure, FailureCode};

use super::{CacheVerbs, missing_failure};
use crate::fetch::Missing;
use crate::http::CacheState;

/// The object's size in bytes, once it is on this node: it is fetched from the node `to`, and no other one is asked.
///
/// # Errors
/// No policy allows it, there is no private path, or the node does not give it.
pub fn get(
    desk: &CacheVerbs,
    state: &CacheState,
    hash: Hash,
    (to, via): (&str, Option<&str>),
) -> Result<u64, Failure> {
    let find = || async { state.objects.find(hash, &desk.gateway.counters).await };
    let found = || desk.runtime.block_on(find()).map_err(|error| super::store_failure(&error));
    if let Some(here) = found()? {
        return Ok(here.size);
    }
    // Packets of a board's own to paths need no policy of its kernel's, so this is where the policy holds.
    if !state.neighbours.takes() {
        let message = "no policy allows this node to ask for objects over paths";
        let help = "a [[policy]] from this node to `path` has to name `cache.objects`";
        return Err(Failure::new(FailureCode::Failed, message, help));
    }
    let path = desk.private.open(to, via)?;
    let fetched = desk.runtime.block_on(state.fetcher.fetch_private(hash, path));
    fetched.map_err(|missing| failure(&missing, to))?;
    found()?.map(|here| here.size).ok_or_else(|| failure(&Missing::Nowhere, to))
}

fn failure(missing: &Missing, to: &str) -> Failure {
    match missing {
        Missing::Nowhere => {
            let help = "`logs cache` says if it sent something else";
            Failure::new(FailureCode::NotFound, format!("{to} does not have it"), help)
        }
        Missing::Silent(_) => {
            let message = format!("{to} does not answer at its port of objects");
            let help = "a policy there has to allow `cache.objects` from `path`";
            Failure::new(FailureCode::Failed, message, help)
        }
        Missing::Limited(_) => {
            let message = format!("{to} gives no more to nodes without an account for now");
            Failure::new(FailureCode::Failed, message, "ask again later")
        }
        other => missing_failure(other),
    }
}
