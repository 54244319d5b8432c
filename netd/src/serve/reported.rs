//! Reports of the unit `lan`, which are passed to the daemon's loop and checked against the plan
//! there.

use octet_node::control::{Failure, FailureCode};
use octet_node::links::{LinkLease, RouterAdvertised};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{NetdCommand, ServeState, failed};
use crate::lease;
use crate::network::PlugError;

/// Parses the report in the argument `name`.
pub(super) fn read<T: DeserializeOwned>(
    name: &'static str,
) -> impl Fn(Option<String>) -> Result<Option<T>, Failure> {
    move |text| {
        let read = text.as_deref().map(serde_json::from_str).transpose();
        read.map_err(|error| invalid(format!("`{name}` is none: {error}")))
    }
}

/// The unit `lan` has a new DHCP lease, or none any more.
pub(super) async fn leased<B>(
    shared: &ServeState<B>,
    link: String,
    lease: Option<LinkLease>,
) -> Result<Value, Failure> {
    send(shared, |done| NetdCommand::SetLease { link, lease, done }).await
}

/// The unit `lan` has received a router advertisement, or the last one has expired.
pub(super) async fn advertised<B>(
    shared: &ServeState<B>,
    link: String,
    advert: Option<RouterAdvertised>,
) -> Result<Value, Failure> {
    send(shared, |done| NetdCommand::SetAdvertisement { link, advert, done }).await
}

async fn send<B>(
    shared: &ServeState<B>,
    command: impl FnOnce(oneshot::Sender<Result<(), lease::InvalidLease>>) -> NetdCommand,
) -> Result<Value, Failure> {
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    shared.commands.send(command(done)).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(|error| invalid(error.to_string()))?;
    Ok(Value::Null)
}

fn invalid(message: String) -> Failure {
    let help = "report what was given at the link that leads out";
    Failure::new(FailureCode::BadArgument, message, help)
}

/// A node has requested an address at a port.
pub(super) async fn plugged<B>(
    shared: &ServeState<B>,
    device: String,
    mac: String,
) -> Result<Value, Failure> {
    let (done, is_done) = oneshot::channel();
    let gone = |_| failed("netd is about to end".to_owned());
    let command = NetdCommand::BindPort { device, mac, done };
    shared.commands.send(command).await.map_err(|_| gone(()))?;
    is_done.await.map_err(|_| gone(()))?.map_err(|error| match error {
        PlugError::Rules(error) => failed(error.to_string()),
        error => {
            let help = "report the first who asks at a port since its link came up";
            Failure::new(FailureCode::BadArgument, error.to_string(), help)
        }
    })?;
    Ok(Value::Null)
}
