//! The verb that makes tokens.

use octet_appliance::Bytes;
use octet_node::control::{Arguments, Failure, FailureCode};
use serde_json::{Value, json};

use crate::http::Here;
use crate::names::now;

/// For how long a token holds if nothing is said, and at most, in seconds.
const TTL: u64 = 24 * 60 * 60;
const MOST: u64 = 366 * TTL;

pub(super) fn make(here: &Here, args: &Arguments) -> Result<Value, Failure> {
    let bad = |message: String, help: String| Failure::new(FailureCode::BadArgument, message, help);
    let bytes = Bytes::try_from(args.text("bytes").unwrap_or_default().to_owned());
    let bytes = bytes.map_err(|error| bad(error.to_string(), "such as 64M".to_owned()))?;
    let ttl = args.integer("ttl").unwrap_or(TTL);
    if !(1..=MOST).contains(&ttl) {
        let message = format!("a token cannot hold for {ttl} seconds");
        return Err(bad(message, format!("give 1 to {MOST} seconds")));
    }
    let failed = |error: std::io::Error| {
        let help = "no token was made, and those before hold as they did";
        Failure::new(FailureCode::Failed, error.to_string(), help)
    };
    if args.flag("revoke") {
        here.tokens.revoke().map_err(failed)?;
    }
    let expires = now() + ttl;
    let token = here.tokens.make(bytes.get(), expires);
    Ok(json!({ "token": token, "bytes": bytes.get(), "expires": expires }))
}
