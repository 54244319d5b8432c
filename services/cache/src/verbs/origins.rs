//! The verb about web origins.

use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};

use crate::http::CacheState;

/// Purges an origin by its name, or one of its URLs.
pub(super) fn purge(state: &CacheState, what: &str) -> Result<Value, Failure> {
    match state.origins.purge(what) {
        Ok(Some(purged)) => Ok(json!({ "purged": purged })),
        Ok(None) => {
            let message = format!("`{what}` is no origin of this node, and no URL of one");
            let help = "`config show` lists each `[[origin]]` and its board";
            Err(Failure::new(FailureCode::NotFound, message, help))
        }
        Err(error) => {
            let help = "`logs cache` may say more";
            Err(Failure::new(FailureCode::Failed, error.to_string(), help))
        }
    }
}
