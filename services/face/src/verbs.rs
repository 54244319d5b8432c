//! The verbs of this unit.

use std::sync::Arc;

use octet_node::control::{ColumnKind, Permission, Verb};
use octet_node::serve::tasks::{ConnectionLimits, Verbs};
use octet_node::serve::verbs::{nothing, text};
use serde_json::Value;
use tokio::sync::watch;

use crate::Shared;
use crate::history::Quantity;

/// Each operator that the gate admits may watch, with room for questions.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 48, for_operators: 40, of_one: 4 };

/// What the verbs are answered from.
pub struct FaceState {
    pub shared: Arc<Shared>,
    /// Signals newer figures.
    pub news: watch::Receiver<()>,
}

pub fn verbs() -> Verbs<FaceState> {
    use Permission::Read;

    let columns = |verb: Verb| {
        verb.columns(
            ColumnKind::Bytes,
            &["memory", "total", "received", "sent", "received_per_second", "sent_per_second"],
        )
        .columns(ColumnKind::Milliseconds, &["uptime"])
    };
    Verbs::default()
        .with(
            columns(Verb::new("show", Read, "Shows the figures of each node")),
            nothing(),
            async |served: &FaceState, _, ()| Ok(served.now()),
        )
        .with(
            columns(Verb::new("watch", Read, "Shows the figures, now and at each change")),
            nothing(),
            async |served, call, ()| {
                let mut news = served.news.clone();
                loop {
                    news.mark_unchanged();
                    if call.peer.item(call.id, served.now()).await.is_err() {
                        return Ok(Value::Null);
                    }
                    tokio::select! {
                        changed = news.changed() => if changed.is_err() { return Ok(Value::Null) },
                        () = call.peer.gone() => return Ok(Value::Null),
                    }
                }
            },
        )
        .with(
            Verb::new("history", Read, "Shows how a quantity was over 24 hours, of each node"),
            text("quantity", "cpu_percent, memory_percent, temperature_celsius, received_per_second or sent_per_second")
                .parse(|name| Quantity::parse(&name)),
            async |served, call, quantity| {
                let items = served.shared.with(|figures, now| figures.history(quantity, now));
                for item in items {
                    if call.peer.item(call.id, item).await.is_err() {
                        break;
                    }
                }
                Ok(Value::Null)
            },
        )
}

impl FaceState {
    fn now(&self) -> Value {
        self.shared.with(|figures, now| figures.to_json(now))
    }
}
