//! The verb that makes tokens.

use octet_appliance::Bytes;
use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};

use crate::http::Here;
use crate::names::now;

/// For how long a token holds if nothing is said, and at most, in seconds.
const TTL: u64 = 24 * 60 * 60;
const MAX: u64 = 366 * TTL;

/// How large an object may be.
pub(super) fn most(text: String) -> Result<u64, Failure> {
    let bad = |error| Failure::new(FailureCode::BadArgument, format!("{error}"), "such as 64M");
    Bytes::try_from(text).map(Bytes::get).map_err(bad)
}

/// For how many seconds a token holds.
pub(super) fn time_to_live(seconds: Option<u64>) -> Result<u64, Failure> {
    let seconds = seconds.unwrap_or(TTL);
    if (1..=MAX).contains(&seconds) {
        return Ok(seconds);
    }
    let message = format!("a token cannot hold for {seconds} seconds");
    let help = format!("give 1 to {MAX} seconds");
    Err(Failure::new(FailureCode::BadArgument, message, help))
}

/// A token for objects of `most` bytes, which holds for `seconds`; with `revoke` it is the only one.
pub(super) fn make(here: &Here, most: u64, seconds: u64, revoke: bool) -> Result<Value, Failure> {
    let failed = |error: std::io::Error| {
        let help = "no token was made, and those before hold as they did";
        Failure::new(FailureCode::Failed, error.to_string(), help)
    };
    if revoke {
        here.tokens.revoke().map_err(failed)?;
    }
    let expires = now() + seconds;
    let token = here.tokens.make(most, expires);
    Ok(json!({ "token": token, "bytes": most, "expires": expires }))
}
