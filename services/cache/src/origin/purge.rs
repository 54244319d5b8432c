//! Purges: what is stored of an origin is forgotten by all boards of the box that have it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Limited};
use hyper::http::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::front::{CachedOrigin, OriginFront, key};
use super::target::normalise;
use super::upstream::UpstreamRequest;
use crate::http::{HttpResponse, text_response};

/// The method with which a board asks another one; Varnish and Squid have it, too. The target is a path and query, or
/// all of the origin.
const PURGE: &[u8] = b"PURGE";
const ALL: &str = "*";

/// The maximum size of an answer: a number, or why there is none.
const MAX_ANSWER: usize = 1024;

/// A board has another one purge once in this time at most: each time the disk is written.
const PAUSE: Duration = Duration::from_millis(100);

/// The turn of a board that has this one purge.
#[derive(Debug, Default)]
pub(super) struct PurgeTurn(Mutex<()>);

/// What came of a purge.
#[derive(Debug, Default)]
pub struct Purged {
    /// How many keys were forgotten, on all boards.
    pub keys: u64,
    /// The boards that have not purged, and why.
    pub failed: BTreeMap<u8, String>,
}

impl OriginFront {
    /// Purges a URL of a front, or all of an origin by its name, on all boards that have the origin. `None` if there is
    /// no such origin.
    ///
    /// # Errors
    /// Writing fails on this board.
    pub async fn purge(self: &Arc<Self>, what: &str) -> Result<Option<Purged>, redb::Error> {
        let Some((origin, target)) = self.purge_target(what) else { return Ok(None) };
        let mut purged = Purged::default();
        // Of a board that has not purged yet, one that has would fetch again what is to be forgotten.
        for board in &origin.fetching {
            self.purge_on(*board, &origin, &target, &mut purged).await?;
        }
        let fronts = origin.fronts.iter().map(async |board| {
            let mut purged = Purged::default();
            self.purge_on(*board, &origin, &target, &mut purged).await.map(|()| purged)
        });
        for front in join_all(fronts).await {
            let front = front?;
            purged.keys += front.keys;
            purged.failed.extend(front.failed);
        }
        Ok(Some(purged))
    }

    /// The origin, and the target of a request to purge it.
    fn purge_target(&self, what: &str) -> Option<(Arc<CachedOrigin>, String)> {
        let Some(url) = what.strip_prefix("http://").or_else(|| what.strip_prefix("https://"))
        else {
            return Some((self.named(what)?, ALL.to_owned()));
        };
        let (host, path) = url.split_at(url.find(['/', '?']).unwrap_or(url.len()));
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        self.find(host).zip(normalise(path, query))
    }

    fn named(&self, name: &str) -> Option<Arc<CachedOrigin>> {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        origins.values().find(|it| it.name == name).cloned()
    }

    /// Purges on a board; `None` is this one.
    async fn purge_on(
        self: &Arc<Self>,
        board: Option<u8>,
        origin: &Arc<CachedOrigin>,
        target: &str,
        purged: &mut Purged,
    ) -> Result<(), redb::Error> {
        let Some(board) = board else {
            purged.keys += self.purge_own(origin, target).await?;
            return Ok(());
        };
        // No device of the box gets anything of such a board.
        if self.boards.is_gone(board) {
            return Ok(());
        }
        match self.ask_to_purge(board, &origin.name, target).await {
            Ok(keys) => purged.keys += keys,
            Err(error) => drop(purged.failed.insert(board, error.to_string())),
        }
        Ok(())
    }

    async fn ask_to_purge(&self, board: u8, name: &str, target: &str) -> io::Result<u64> {
        let method = Method::from_bytes(PURGE).map_err(io::Error::other)?;
        let (method, fields) = (&method, &HeaderMap::new());
        let request = UpstreamRequest { name, method, target, fields };
        let asked = async {
            let response = request.of_board(&self.boards, board).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let text = body.map_err(io::Error::other)?.to_bytes();
            let text = String::from_utf8_lossy(&text);
            match text.trim().parse() {
                Ok(keys) if status == StatusCode::OK => Ok(keys),
                _ => Err(io::Error::other(format!("it answers {status}: {}", text.trim()))),
            }
        };
        let limit = self.boards.request_timeout();
        timeout(limit, asked).await.unwrap_or_else(|_| Err(io::Error::other("it does not answer")))
    }

    /// Purges on this board. Returns how many keys.
    async fn purge_own(
        self: &Arc<Self>,
        origin: &CachedOrigin,
        target: &str,
    ) -> Result<u64, redb::Error> {
        let (front, is_all) = (Arc::clone(self), target == ALL);
        let key = if is_all { format!("{} ", origin.name) } else { key(origin, target) };
        let purge = move || {
            let is_purged = |it: &str| if is_all { it.starts_with(&key) } else { it == key };
            front.purges.fetch_add(1, Ordering::AcqRel);
            front.flights().retain(|key, _| !is_purged(key));
            front.rows.purge(is_purged)
        };
        spawn_blocking(purge).await.unwrap_or_else(|error| Err(redb::Error::Io(error.into())))
    }

    /// Answers another board's request to purge; `None` if it is another request. The requests of one board share
    /// `turn`.
    pub(super) async fn answer_purge<B>(
        self: &Arc<Self>,
        name: &str,
        request: &Request<B>,
        turn: &PurgeTurn,
    ) -> Option<HttpResponse> {
        if request.method().as_str().as_bytes() != PURGE {
            return None;
        }
        let target = match request.uri().path() {
            ALL => Some(ALL.to_owned()),
            path => normalise(path, request.uri().query()),
        };
        let Some(target) = target else {
            return Some(text_response(StatusCode::BAD_REQUEST, "a `%` has no two digits"));
        };
        let Some(origin) = self.named(name) else {
            let why =
                "this board has no such origin: look whether all boards have the same settings";
            return Some(text_response(StatusCode::NOT_FOUND, why));
        };
        let _turn = turn.0.lock().await;
        let purged = self.purge_own(&origin, &target).await;
        sleep(PAUSE).await;
        Some(match purged {
            Ok(keys) => text_response(StatusCode::OK, &keys.to_string()),
            Err(error) => text_response(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        })
    }
}
