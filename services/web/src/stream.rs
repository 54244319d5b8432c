//! Streams of events to a viewer: they end with the session, and do not prolong it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::watch;
use tokio::time::{Interval, interval};

use crate::app::App;
use crate::events::{event, subscribe};
use crate::guard::RequestSession;
use crate::install::InstallState;
use crate::pages::update::progress;

/// How often a viewer gets a comment and its session is looked at, if nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(15);

const COMMENT: &str = ":\n\n";

/// One viewer of the values `T`.
struct Viewer<T> {
    app: Arc<App>,
    session: RequestSession,
    values: watch::Receiver<T>,
    heartbeat: Interval,
    /// The events of a value, and whether they are the last ones.
    render: fn(&T) -> (String, bool),
    has_ended: bool,
}

pub async fn figures(
    State(app): State<Arc<App>>,
    Extension(session): Extension<RequestSession>,
) -> Response {
    let values = subscribe(&app);
    respond(app, session, values, |text| (text.to_string(), false))
}

pub async fn installation(
    State(app): State<Arc<App>>,
    Extension(session): Extension<RequestSession>,
) -> Response {
    let mut values = app.installation.follow();
    values.mark_changed();
    respond(app, session, values, |state: &InstallState| {
        let (text, is_last) =
            (event("install", &progress(state).into_string()), !state.is_running());
        (if is_last { text + &event("done", "") } else { text }, is_last)
    })
}

fn respond<T: Send + Sync + 'static>(
    app: Arc<App>,
    session: RequestSession,
    values: watch::Receiver<T>,
    render: fn(&T) -> (String, bool),
) -> Response {
    let heartbeat = interval(HEARTBEAT);
    let viewer = Viewer { app, session, values, heartbeat, render, has_ended: false };
    let events = unfold(viewer, async |mut viewer| {
        let text = viewer.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), viewer))
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

impl<T> Viewer<T> {
    /// The next events; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if self.has_ended {
            return None;
        }
        let text = tokio::select! {
            changed = self.values.changed() => {
                changed.ok()?;
                let (text, is_last) = (self.render)(&self.values.borrow_and_update());
                self.has_ended = is_last;
                text
            }
            _ = self.heartbeat.tick() => COMMENT.to_owned(),
        };
        if !self.app.is_open(&self.session) {
            self.has_ended = true;
            return Some(event("ended", ""));
        }
        Some(if text.is_empty() { COMMENT.to_owned() } else { text })
    }
}
