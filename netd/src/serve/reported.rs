//! What the unit `lan` reports: handed on to whoever holds it against the plan.

use octet_node::control::{Arguments, Failure, FailureCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Shared, Wish, failed};
use crate::lease;
use crate::network::PlugError;

/// A DHCP server has given an address, or there is none any more.
pub(super) async fn leased(shared: &Shared, args: &Arguments) -> Result<Value, Failure> {
    let (link, lease) = reported(args, "lease")?;
    hand_on(shared, |done| Wish::Leased { link, lease, done }).await
}

/// A router has advertised something, or there is none any more.
pub(super) async fn advertised(shared: &Shared, args: &Arguments) -> Result<Value, Failure> {
    let (link, advert) = reported(args, "advert")?;
    hand_on(shared, |done| Wish::Advertised { link, advert, done }).await
}

/// The link, and what is reported of it as the argument `name`.
fn reported<T: DeserializeOwned>(
    args: &Arguments,
    name: &str,
) -> Result<(String, Option<T>), Failure> {
    let read = args.text(name).map(serde_json::from_str::<T>).transpose();
    let read = read.map_err(|error| not_taken(format!("`{name}` is none: {error}")))?;
    Ok((args.text("link").unwrap_or_default().to_owned(), read))
}

async fn hand_on(
    shared: &Shared,
    wish: impl FnOnce(oneshot::Sender<Result<(), lease::Refused>>) -> Wish,
) -> Result<Value, Failure> {
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    shared.wishes.send(wish(done)).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(|error| not_taken(error.to_string()))?;
    Ok(Value::Null)
}

fn not_taken(message: String) -> Failure {
    let help = "report what was given at the link that leads out";
    Failure::new(FailureCode::BadArgument, message, help)
}

/// Somebody has asked for an address at a port.
pub(super) async fn plugged(shared: &Shared, args: &Arguments) -> Result<Value, Failure> {
    let text = |name| args.text(name).unwrap_or_default().to_owned();
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    let wish = Wish::Plugged { device: text("port"), mac: text("mac"), done };
    shared.wishes.send(wish).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(|error| match error {
        PlugError::Rules(error) => failed(error.to_string()),
        error => {
            let help = "report the first who asks at a port since its link came up";
            Failure::new(FailureCode::BadArgument, error.to_string(), help)
        }
    })?;
    Ok(Value::Null)
}
