//! The verb that makes tokens.

use octet_appliance::Bytes;
use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};

use crate::http::CacheState;
use crate::names::now;

/// The default and the maximum lifetime of a token, in seconds.
const TTL: u64 = 24 * 60 * 60;
const MAX: u64 = 366 * TTL;

/// Parses the maximum size of an object.
pub(super) fn parse_bytes(text: String) -> Result<u64, Failure> {
    let bad = |error| Failure::new(FailureCode::BadArgument, format!("{error}"), "such as 64M");
    Bytes::try_from(text).map(Bytes::get).map_err(bad)
}

/// The lifetime of a token in seconds.
pub(super) fn time_to_live(seconds: Option<u64>) -> Result<u64, Failure> {
    let seconds = seconds.unwrap_or(TTL);
    if (1..=MAX).contains(&seconds) {
        return Ok(seconds);
    }
    let message = format!("a token cannot hold for {seconds} seconds");
    let help = format!("give 1 to {MAX} seconds");
    Err(Failure::new(FailureCode::BadArgument, message, help))
}

/// Makes a token for uploads of `bytes`, valid for `seconds`. With `revoke`, all earlier
/// tokens become invalid.
pub(super) fn create(
    state: &CacheState,
    bytes: u64,
    seconds: u64,
    revoke: bool,
) -> Result<Value, Failure> {
    let failed = |error: std::io::Error| {
        let help = "no token was made, and those before hold as they did";
        Failure::new(FailureCode::Failed, error.to_string(), help)
    };
    if revoke {
        state.tokens.revoke().map_err(failed)?;
    }
    let expires = now() + seconds;
    let token = state.tokens.make(bytes, expires);
    Ok(json!({ "token": token, "bytes": bytes, "expires": expires }))
}
