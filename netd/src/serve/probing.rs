//! What an operator has boards send each other, and what has come.

use octet_appliance::{Cluster, Mac, Zone};
use octet_node::control::{Failure, FailureCode};
use octet_node::say;
use octet_router::kind::Kind;
use serde_json::{Value, json};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::sleep;

use super::{Shared, failed, kind};
use crate::backend::Backend;
use crate::probe::{MOST, Own, To};
use crate::told;
use crate::watch::LASTS;

/// Reads a list of kinds.
pub(super) fn kinds(what: String) -> Result<Vec<Kind>, Failure> {
    let kinds = what.split(',').map(kind).collect::<Result<Vec<_>, _>>()?;
    if kinds.len() > MOST {
        let message = format!("{} kinds are more than {MOST}", kinds.len());
        return Err(Failure::new(FailureCode::BadArgument, message, "ask more than once"));
    }
    Ok(kinds)
}

/// Reads an Ethernet address.
pub(super) fn mac(text: Option<String>) -> Result<Option<Mac>, Failure> {
    let read = |text: String| {
        Mac::try_from(text).map_err(|error| {
            let help = "write six bytes, as 02:00:00:00:00:01";
            Failure::new(FailureCode::BadArgument, error.to_string(), help)
        })
    };
    text.map(read).transpose()
}

/// Notes what comes in from now on, and says where this board is.
pub(super) async fn watch<B: Backend + Clone + 'static>(
    shared: &Shared<B>,
) -> Result<Value, Failure> {
    let (_, own) = board(shared).await?;
    let mut watching = shared.watching.lock().await;
    shared.backend.watch().await.map_err(|error| failed(error.to_string()))?;
    let backend = shared.backend.clone();
    let end = spawn_local(async move {
        sleep(LASTS).await;
        if let Err(error) = backend.unwatch().await {
            say!("what comes in is still noted: {error}");
        }
    });
    if let Some(before) = watching.replace(end.abort_handle()) {
        before.abort();
    }
    Ok(json!(own.seat))
}

/// What has come in.
pub(super) async fn came<B: Backend>(shared: &Shared<B>) -> Result<Value, Failure> {
    let came = shared.backend.came().await.map_err(|error| {
        Failure::new(FailureCode::Failed, error.to_string(), "ask `watch` first")
    })?;
    Ok(json!(came))
}

/// Sends what is asked for.
pub(super) async fn probe<B: Backend>(
    shared: &Shared<B>,
    to: Zone,
    kinds: &[Kind],
    mac: Option<Mac>,
) -> Result<Value, Failure> {
    let (cluster, own) = board(shared).await?;
    let to = match to {
        Zone::Router => To::Router,
        Zone::Board(number)
            if (1..=cluster.boards).contains(&number) && number != own.seat.number =>
        {
            To::Board(number)
        }
        zone => {
            let message = format!("nothing is sent to {zone}");
            let help = "name another board of the box, or the router";
            return Err(Failure::new(FailureCode::BadArgument, message, help));
        }
    };
    let _one_at_a_time = shared.probing.lock().await;
    if let Some(mac) = mac {
        let sent = own.send_past(&shared.backend, mac).await;
        sent.map_err(|error| failed(format!("past the router: {error}")))?;
    }
    let sent = own.send(&cluster, to, kinds).await;
    Ok(json!(sent.map_err(|error| failed(error.to_string()))?))
}

/// The box, and this board's port.
async fn board<B: Backend>(shared: &Shared<B>) -> Result<(Cluster, Own), Failure> {
    let cluster =
        spawn_blocking(told::cluster).await.map_err(|error| failed(error.to_string()))??;
    let observed = shared.backend.observe().await.map_err(|error| failed(error.to_string()))?;
    let found = cluster.and_then(|cluster| Some((Own::find(&cluster, &observed)?, cluster)));
    found.map(|(own, cluster)| (cluster, own)).ok_or_else(|| {
        let message = "this node has no address of a board";
        Failure::new(FailureCode::NotFound, message, "ask a board that is plugged in")
    })
}
