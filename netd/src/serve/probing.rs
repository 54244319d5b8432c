//! Probes between boards for an operator: sends packets, and reports which were received.

use octet_appliance::{Cluster, Mac, TrafficKind, Zone};
use octet_node::control::{Failure, FailureCode};
use octet_node::say;
use octet_router::kind::FlowKind;
use octet_router::matrix::SentProbe;
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::{ServeState, failed, kind};
use crate::backend::Backend;
use crate::probe::{MAX, OwnPort, ProbeTarget};
use crate::watch::LASTS;

/// Parses a list of traffic kinds.
pub(super) fn kinds(what: String) -> Result<Vec<FlowKind>, Failure> {
    let kinds = what.split(',').map(kind).collect::<Result<Vec<_>, _>>()?;
    if kinds.len() > MAX {
        let message = format!("{} kinds are more than {MAX}", kinds.len());
        return Err(Failure::new(FailureCode::BadArgument, message, "ask more than once"));
    }
    Ok(kinds)
}

pub(super) fn mac(text: Option<String>) -> Result<Option<Mac>, Failure> {
    let read = |text: String| {
        Mac::try_from(text).map_err(|error| {
            let help = "write six bytes, as 02:00:00:00:00:01";
            Failure::new(FailureCode::BadArgument, error.to_string(), help)
        })
    };
    text.map(read).transpose()
}

/// Starts recording received packets, and returns the position of this board.
pub(super) async fn watch<B: Backend + Clone + 'static>(
    shared: &ServeState<B>,
) -> Result<Value, Failure> {
    let (_, own) = board(shared).await?;
    let mut watching = shared.watching.lock().await;
    shared.backend.watch().await.map_err(|error| failed(error.to_string()))?;
    let backend = shared.backend.clone();
    let end = spawn_local(async move {
        sleep(LASTS).await;
        if let Err(error) = backend.unwatch().await {
            say!("received flows are still recorded: {error}");
        }
    });
    if let Some(before) = watching.replace(end.abort_handle()) {
        before.abort();
    }
    Ok(json!(own.seat))
}

pub(super) async fn received<B: Backend>(shared: &ServeState<B>) -> Result<Value, Failure> {
    let came = shared.backend.received().await.map_err(|error| {
        Failure::new(FailureCode::Failed, error.to_string(), "ask `watch` first")
    })?;
    Ok(json!(came))
}

/// Sends the requested probes.
pub(super) async fn probe<B: Backend>(
    shared: &ServeState<B>,
    to: Zone,
    kinds: &[FlowKind],
    mac: Option<Mac>,
) -> Result<Value, Failure> {
    let (cluster, own) = board(shared).await?;
    let to = match to {
        Zone::Router => ProbeTarget::Router,
        Zone::Board(number)
            if (1..=cluster.boards).contains(&number) && number != own.seat.number =>
        {
            ProbeTarget::Board(number)
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
    let sent = sent.map_err(|error| failed(error.to_string()))?;
    let mut answer = json!(sent);
    answer["notes"] = json!(notes(&sent, kinds));
    Ok(answer)
}

/// Possible reasons why a probe was not answered, one a line.
fn notes(sent: &SentProbe, kinds: &[FlowKind]) -> Vec<String> {
    let list = |kinds: Vec<String>| kinds.join(", ");
    let is_answered =
        |kind: &&FlowKind| matches!(kind.traffic, TrafficKind::Tcp | TrafficKind::Ping);
    let silent: Vec<_> =
        kinds.iter().filter(|it| !is_answered(it)).map(FlowKind::to_string).collect();
    let mut notes = vec![];
    if sent.answers.is_empty() {
        notes.push("nothing was sent: this board has no address of the box".to_owned());
    }
    for (target, answers) in &sent.answers {
        let asked = kinds.iter().filter(is_answered);
        let missing: Vec<_> =
            asked.filter(|kind| !answers.contains(kind)).map(FlowKind::to_string).collect();
        if !missing.is_empty() {
            notes.push(format!(
                "{target} did not answer {}: no policy allows it (`explain` at the router), nobody listens there, or it is off",
                list(missing)
            ));
        }
    }
    if !silent.is_empty() && !sent.answers.is_empty() {
        notes.push(format!(
            "an answer to {} is not waited for: `watch` and then `came` at the other end show whether it came",
            list(silent)
        ));
    }
    if !sent.echoed {
        notes.push("the router did not answer: what was sent may not have been forwarded".into());
    }
    notes
}

/// The box, and this board's port.
async fn board<B: Backend>(shared: &ServeState<B>) -> Result<(Cluster, OwnPort), Failure> {
    let observed = shared.backend.observe().await.map_err(|error| failed(error.to_string()))?;
    let cluster = shared.applied().cluster.clone();
    let found = cluster.and_then(|cluster| {
        let own = OwnPort::find(&cluster, &observed)?;
        Some((cluster, own))
    });
    found.ok_or_else(|| {
        let message = "this node has no address of a board";
        Failure::new(FailureCode::NotFound, message, "ask a board that is plugged in")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::IpAddr;

    #[test]
    fn silence_is_explained() {
        let target: IpAddr = "10.20.5.2".parse().unwrap();
        let sent = |answers: &[FlowKind], echoed| SentProbe {
            answers: BTreeMap::from([(target, answers.iter().copied().collect::<BTreeSet<_>>())]),
            echoed,
        };
        let (web, names) = (FlowKind::tcp(80), FlowKind::udp(53));
        let none: &[String] = &[];
        assert_eq!(notes(&sent(&[web], true), &[web]), none);
        let found = notes(&sent(&[web], false), &[web, FlowKind::PING, names]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("10.20.5.2 did not answer icmp: no policy allows it"),
            "{found:?}"
        );
        assert!(found[1].starts_with("an answer to udp/53 is not waited for"), "{found:?}");
        assert!(found[2].starts_with("the router did not answer"), "{found:?}");
        let nowhere = SentProbe { answers: BTreeMap::new(), echoed: true };
        assert_eq!(notes(&nowhere, &[web, names]).len(), 1);
    }
}
