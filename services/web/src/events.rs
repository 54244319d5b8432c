//! The live figures: one call of `face watch` for all viewers, rendered once for each change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use octet_control::CallError;
use serde_json::Map;
use tokio::sync::watch;

use crate::app::App;
use crate::figures::{self, Fragments};
use crate::nodes::{HOME, NodeError};
use crate::pages::home::FACE;
use crate::text::clean;

/// The pause before the figures are asked for again.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The last event, and whether a thread asks for the next one. There is one only while somebody views the figures.
pub struct FigureEvents {
    last: watch::Sender<Arc<str>>,
    is_followed: Mutex<bool>,
}

impl Default for FigureEvents {
    fn default() -> Self {
        Self { last: watch::Sender::new("".into()), is_followed: Mutex::new(false) }
    }
}

/// Subscribes a viewer; each value is the text of events (server-sent events, HTML standard, section 9.2).
pub fn subscribe(app: &Arc<App>) -> watch::Receiver<Arc<str>> {
    let mut is_followed = app.events.is_followed.lock().unwrap_or_else(PoisonError::into_inner);
    let mut viewer = app.events.last.subscribe();
    if !*is_followed {
        *is_followed = true;
        // What was sent to earlier viewers is old.
        app.events.last.send_replace("".into());
        let app = Arc::clone(app);
        std::thread::spawn(move || follow(&app));
    }
    viewer.mark_changed();
    viewer
}

/// How many viewers there are.
pub fn viewers(app: &App) -> usize {
    app.events.last.receiver_count()
}

/// Asks for the figures until nobody views them any more.
fn follow(app: &App) {
    let mut delay = Duration::ZERO;
    loop {
        let mut is_followed = app.events.is_followed.lock().unwrap_or_else(PoisonError::into_inner);
        if app.events.last.receiver_count() == 0 {
            *is_followed = false;
            return;
        }
        drop(is_followed);
        std::thread::sleep(delay);
        delay = RETRY_DELAY;
        if let Err(why) = watch(app) {
            app.events.last.send_replace(event("trouble", &clean(&why.to_string())).into());
        }
    }
}

fn watch(app: &App) -> Result<(), NodeError> {
    let mut client = app.nodes.stream(HOME)?;
    client.set_unit(FACE.parse().ok());
    client.call_each("watch", Map::new(), |item| {
        if let Some((_, Fragments { drawing, figures })) = figures::render(item) {
            let text = event("drawing", &drawing) + &event("figures", &figures);
            app.events.last.send_if_modified(|last| {
                let is_new = **last != *text;
                *last = text.into();
                is_new
            });
        }
        app.events.last.receiver_count() > 0
    })?;
    if app.events.last.receiver_count() == 0 { Ok(()) } else { Err(CallError::Closed.into()) }
}

/// One event as text.
pub fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_keeps_its_lines() {
        assert_eq!(event("figures", "a\nb"), "event: figures\ndata: a\ndata: b\n\n");
    }

    proptest! {
        /// No text of a box begins another event.
        #[test]
        fn it_is_one_event(data: String) {
            let text = event("x", &data);
            prop_assert_eq!(text.matches("\n\n").count(), 1);
            let mut lines = text.trim_end_matches('\n').split(['\n', '\r']);
            prop_assert_eq!(lines.next(), Some("event: x"));
            prop_assert!(lines.all(|line| line.starts_with("data: ")));
        }
    }
}
