//! The origins whose front this node is, what is stored of them, and what arrives.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hyper::Response;
use hyper::body::Incoming;
use octet_appliance::OriginSection;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use super::boards::OriginBoards;
use super::flight::{FlightState, OriginFlight, create};
use super::rows::OriginRows;
use super::serve::FrontRequest;
use super::stored::{StaleDefaults, StoredResponse};
use crate::counters::CacheCounters;
use crate::objects::Objects;

/// The maximum number of keys with stored responses.
const MAX_KEYS: u64 = 16_384;

/// The maximum number of responses that arrive at the same time; further ones are passed through.
const MAX_FLIGHTS: usize = 64;

/// Who fetches from an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginFetcher {
    /// The unit `origin` of this node.
    Unit,
    /// Another board of the box.
    Board(u8),
}

/// An origin as the front needs it.
#[derive(Debug)]
pub struct CachedOrigin {
    pub name: String,
    upstream: String,
    /// Those that are asked, in this order, while the ones before do not answer.
    pub fetchers: Vec<OriginFetcher>,
    /// The boards that fetch, in their order, and the other fronts; `None` is this board.
    pub(super) fetching: Vec<Option<u8>>,
    pub(super) fronts: Vec<Option<u8>>,
    pub defaults: StaleDefaults,
    pub max_bytes: u64,
    /// The bytes that arrive now.
    pub arriving: Arc<AtomicU64>,
    pub(super) headers: Vec<String>,
    pub(super) cookies: Vec<String>,
}

#[derive(Debug)]
pub struct OriginFront {
    /// By host.
    pub(super) origins: RwLock<BTreeMap<String, Arc<CachedOrigin>>>,
    pub(super) rows: OriginRows,
    pub(super) objects: Arc<Objects>,
    pub(super) counters: Arc<CacheCounters>,
    /// The socket of the unit `origin`.
    pub(super) socket: PathBuf,
    pub(super) boards: OriginBoards,
    /// The folder of bodies that arrive.
    folder: PathBuf,
    files: AtomicU64,
    flights: Mutex<HashMap<String, (u64, watch::Receiver<FlightState>)>>,
    /// The number of purges on this board.
    pub(super) purges: AtomicU64,
}

/// A flight that a request waits for, and its response if it is not shared: only the first one gets that.
pub(super) type Joined =
    (watch::Receiver<FlightState>, Option<oneshot::Receiver<Response<Incoming>>>);

impl OriginFront {
    /// Opens or creates the rows, and empties the folder of bodies that arrive, in `folder`. `socket` is that of the
    /// unit `origin`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(
        folder: &Path,
        objects: Arc<Objects>,
        counters: Arc<CacheCounters>,
        socket: PathBuf,
        boards: OriginBoards,
    ) -> io::Result<Arc<Self>> {
        let arriving = folder.join("arriving");
        match fs::remove_dir_all(&arriving) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&arriving)?,
        }
        let rows =
            OriginRows::open(&folder.join("origins.db"), MAX_KEYS).map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            origins: RwLock::default(),
            rows,
            objects,
            counters,
            socket,
            boards,
            folder: arriving,
            files: AtomicU64::new(0),
            flights: Mutex::default(),
            purges: AtomicU64::new(0),
        }))
    }

    /// Closes the rows.
    pub fn close(&self) {
        self.rows.close();
    }

    /// Serves those origins of the box called `appliance` whose front board `own` is, and no others. The router, and a
    /// box without boards, is `None`.
    pub fn set_origins(&self, appliance: &str, sections: &[OriginSection], own: Option<u8>) {
        let origin = |section: &OriginSection| {
            let other = |board: Option<u8>| board.filter(|_| board != own);
            let fetching: Vec<_> = iter::once(section.board)
                .chain(section.standby.iter().map(|it| Some(*it)))
                .collect();
            let fronts =
                section.fronts.iter().map(|it| Some(*it)).filter(|it| !fetching.contains(it));
            let fronts = fronts.map(other).collect();
            let origin = CachedOrigin {
                name: section.name.to_string(),
                upstream: section.upstream.to_string(),
                fetchers: fetchers(section, own)?,
                fetching: fetching.into_iter().map(other).collect(),
                fronts,
                defaults: StaleDefaults {
                    if_error: section.stale_if_error_seconds.into(),
                    while_revalidate: section.stale_while_revalidate_seconds.into(),
                },
                max_bytes: section.max_bytes.get(),
                arriving: Arc::default(),
                headers: section.headers.iter().map(|it| it.to_ascii_lowercase()).collect(),
                cookies: section.cookies.clone(),
            };
            Some((format!("{}.{appliance}.internal", section.name), Arc::new(origin)))
        };
        let origins = sections.iter().filter_map(origin).collect();
        *self.origins.write().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    /// The origin of a field `Host`.
    pub fn find(&self, host: &str) -> Option<Arc<CachedOrigin>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        if origins.is_empty() {
            return None;
        }
        let mut name = Cow::Borrowed(name.strip_suffix('.').unwrap_or(name));
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_mut().make_ascii_lowercase();
        }
        origins.get(&*name).cloned()
    }

    /// The origin with this name, if this node fetches from it.
    pub(super) fn fetched(&self, name: &str) -> Option<Arc<CachedOrigin>> {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |it: &&Arc<CachedOrigin>| it.name == name && it.fetchers.contains(&OriginFetcher::Unit);
        origins.values().find(is_it).cloned()
    }

    /// Whether no response arrives.
    pub fn is_idle(&self) -> bool {
        self.flights().is_empty()
    }

    pub(super) fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    pub(super) fn flights(
        &self,
    ) -> MutexGuard<'_, HashMap<String, (u64, watch::Receiver<FlightState>)>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new file for a body that arrives.
    pub(super) async fn arriving_file(&self) -> io::Result<(PathBuf, Arc<File>)> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        spawn_blocking(|| create(path)).await.map_err(io::Error::other)?
    }

    /// The flight of the request's key, which begins if there is none. `None` if there are too many.
    pub(super) fn join(
        self: &Arc<Self>,
        request: &FrontRequest<'_>,
        stored: Option<StoredResponse>,
    ) -> Option<Joined> {
        let mut flights = self.flights();
        if let Some((_, state)) = flights.get(&request.key) {
            return Some((state.clone(), None));
        }
        if flights.len() >= MAX_FLIGHTS {
            return None;
        }
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let (sender, state) = watch::channel(FlightState::Waiting);
        let (first, response) = oneshot::channel();
        flights.insert(request.key.clone(), (number, state.clone()));
        drop(flights);
        let flight = OriginFlight {
            front: Arc::clone(self),
            origin: Arc::clone(&request.origin),
            key: request.key.clone(),
            target: request.target.clone(),
            fields: request.up.clone(),
            stored,
            state: sender,
            first,
            purges: self.purges(),
        };
        let ended = FlightEnd { front: Arc::clone(self), key: request.key.clone(), number };
        tokio::spawn(async move {
            let _ended = ended;
            flight.run().await;
        });
        Some((state, Some(response)))
    }
}

/// Whom board `own` asks for what is not stored; `None` if it is no front. Each asks those before it in the settings'
/// order, and none behind it, so no request goes in a circle.
fn fetchers(section: &OriginSection, own: Option<u8>) -> Option<Vec<OriginFetcher>> {
    if section.board == own {
        return Some(vec![OriginFetcher::Unit]);
    }
    let own = own.filter(|own| section.fronts.contains(own))?;
    let before = section.standby.iter().take_while(|board| **board != own);
    let boards = section.board.iter().chain(before).map(|board| OriginFetcher::Board(*board));
    let unit = section.standby.contains(&own).then_some(OriginFetcher::Unit);
    Some(boards.chain(unit).collect())
}

/// Removes a flight from the list, however it ends.
struct FlightEnd {
    front: Arc<OriginFront>,
    key: String,
    number: u64,
}

impl Drop for FlightEnd {
    fn drop(&mut self) {
        let mut flights = self.front.flights();
        if flights.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            flights.remove(&self.key);
        }
    }
}

/// The key of stored responses. What another upstream has answered is not found after a change of the settings.
pub(super) fn key(origin: &CachedOrigin, target: &str) -> String {
    [&origin.name, " ", &origin.upstream, target].concat()
}
