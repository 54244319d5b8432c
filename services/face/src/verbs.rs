//! The verbs of this unit.

use std::path::PathBuf;
use std::sync::Arc;

use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, Verb};
use octet_node::serve::tasks::{ConnectionLimits, Verbs};
use octet_node::serve::verbs::{flag, nothing, text};
use octet_node::settings::Which;
use octet_oled::{OledPage, half_blocks};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::history::Quantity;
use crate::settings::Settings;
use crate::{Shared, screen};

/// Each operator that the gate admits may watch, with room for questions.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 48, for_operators: 40, of_one: 4 };

/// What the verbs are answered from.
pub struct FaceState {
    pub shared: Arc<Shared>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
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
        .columns(ColumnKind::Millionths, &["coins_last_hour"])
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
        .with(
            Verb::new("display", Read, "Shows what an OLED display shows, and where there is one")
                .columns(ColumnKind::Lines, &["identity", "load"]),
            flag("svg", "The pictures as SVG"),
            async |face, _, svg| Ok(face.display(svg)),
        )
        .with_settings(
            async |face| face.read_settings(Which::Next).await.map(drop),
            async |face| {
                let settings = face.read_settings(Which::InForce).await?;
                face.shared.change_settings(settings);
                Ok(())
            },
        )
}

impl FaceState {
    fn now(&self) -> Value {
        self.shared.with(|figures, now| figures.to_json(now))
    }

    fn display(&self, svg: bool) -> Value {
        let (node, settings) = (self.shared.node(), self.shared.settings());
        let [identity, load] = [OledPage::Identity, OledPage::Load].map(|page| {
            let draw = |figures: &mut _, now| screen::draw(figures, &node, &settings, page, now);
            let picture = self.shared.with(draw);
            if svg { octet_oled::svg(&picture) } else { half_blocks(&picture) }
        });
        json!({ "state": self.shared.display_state(), "identity": identity, "load": load })
    }

    /// A thread waits for `config`, so that no other task does.
    async fn read_settings(&self, which: Which) -> Result<Settings, Failure> {
        let sockets = self.sockets.clone();
        let read = spawn_blocking(move || Settings::read(&sockets, which)).await;
        let read = read
            .map_err(|error| Failure::new(FailureCode::Failed, error.to_string(), "ask again"))?;
        read.map_err(Failure::from)
    }
}
