//! Records the bytes that were sent to each node, for later accounting.

use octet_node::say;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use iroh_blobs::provider::events::{
    ConnectMode, EventMask, EventSender, ProviderMessage, RequestMode, RequestUpdate,
};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::policy::CachePolicy;

/// The events that are reported to `policy`; writing by other nodes is disabled.
const MASK: EventMask =
    EventMask { connected: ConnectMode::Notify, get: RequestMode::NotifyLog, ..EventMask::DEFAULT };

/// The length of the event queue.
const QUEUE_LENGTH: usize = 64;

/// The interval of writes to disk: the maximum loss if the process is killed.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);

/// The event sender that reports transfers to `policy`.
pub fn transfer_events(policy: Arc<CachePolicy>) -> EventSender {
    let (events, told) = EventSender::channel(QUEUE_LENGTH, MASK);
    tokio::spawn(record(told, policy));
    events
}

async fn record(mut told: mpsc::Receiver<ProviderMessage>, policy: Arc<CachePolicy>) {
    let mut peers = HashMap::new();
    let mut pause = interval(WRITE_INTERVAL);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = told.recv() => message,
            _ = pause.tick() => {
                write(&policy).await;
                continue;
            }
        };
        match message {
            Some(ProviderMessage::ClientConnectedNotify(it)) => {
                if let Some(peer) = it.endpoint_id {
                    peers.insert(it.connection_id, *peer.as_bytes());
                }
            }
            Some(ProviderMessage::ConnectionClosed(it)) => drop(peers.remove(&it.connection_id)),
            Some(ProviderMessage::GetRequestReceivedNotify(it)) => {
                let Some(peer) = peers.get(&it.connection_id).copied() else { continue };
                let (hash, policy, mut updates) = (it.request.hash, Arc::clone(&policy), it.rx);
                tokio::spawn(async move {
                    while let Ok(Some(update)) = updates.recv().await {
                        let stats = match update {
                            RequestUpdate::Completed(it) => it.stats,
                            RequestUpdate::Aborted(it) => it.stats,
                            _ => continue,
                        };
                        policy.record_sent(peer, hash, stats.payload_bytes_sent);
                    }
                });
            }
            Some(_) => {}
            None => return write(&policy).await,
        }
    }
}

async fn write(policy: &Arc<CachePolicy>) {
    let policy = Arc::clone(policy);
    if let Ok(Err(error)) = spawn_blocking(move || policy.write_sent()).await {
        say!("the transfer counters cannot be stored: {error}");
    }
}
