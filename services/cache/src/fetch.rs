//! Objects that are not here come from other nodes of the box, one node after the other, and are verified as they
//! come. However many ask for one, it is fetched once.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use iroh::Endpoint;
use iroh_blobs::api::remote::GetProgressItem;
use iroh_blobs::get::GetError;
use iroh_blobs::get::fsm::{AtBlobHeaderNextError, DecodeError};
use iroh_blobs::get::request::get_verified_size;
use iroh_blobs::protocol::ERR_INTERNAL;
use iroh_blobs::{ALPN, Hash, HashAndFormat};
use octet_node::control::PublicKey;
use octet_node::say;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::counters::Counters;
use crate::limits::Limits;
use crate::objects::{Objects, StoreError};
use crate::peers::{self, Peer};
use crate::policy::{Claim, Kind};

/// Why an object is not to be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Missing {
    /// No node that answers has it.
    #[error("no node of this box has it: add it, or see whether the hash is the one that you mean")]
    Nowhere,
    /// None that answers has it, and some do not answer.
    #[error("the nodes that answer do not have it, and {0} did not answer: ask again later")]
    Silent(usize),
    /// It is on its way.
    #[error("it is being fetched from another node, and not here yet: ask again")]
    OnItsWay,
    /// Somebody has removed it.
    #[error("it was removed: add it again, or `get` it from another node")]
    Removed,
    /// So many are fetched already.
    #[error("as many objects as may be are being fetched: ask again in a moment")]
    Busy,
    /// This node cannot keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of asking one node.
enum Answer {
    Gave,
    Lacked,
    Silent,
    Wrong,
    Unkept(StoreError),
}

/// What a fetch has come to; nothing as long as it goes on.
type Outcome = Option<Result<(), Missing>>;

/// Fetches objects.
#[derive(Debug)]
pub struct Fetcher {
    objects: Arc<Objects>,
    counters: Arc<Counters>,
    limits: Limits,
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<Peer>>,
    flights: Mutex<HashMap<Hash, watch::Receiver<Outcome>>>,
}

impl Fetcher {
    /// Fetches by `endpoint` from `peers`, of which this node may be one.
    pub fn new(
        objects: Arc<Objects>,
        counters: Arc<Counters>,
        limits: Limits,
        endpoint: watch::Receiver<Option<Endpoint>>,
        peers: watch::Receiver<Vec<Peer>>,
    ) -> Arc<Self> {
        let flights = Mutex::default();
        Arc::new(Self { objects, counters, limits, endpoint, peers, flights })
    }

    /// The nodes that may be asked.
    pub fn peers(&self) -> Vec<Peer> {
        let own = self.endpoint.borrow().as_ref().map(|it| PublicKey::new(*it.id().as_bytes()));
        let all = self.peers.borrow().clone();
        all.into_iter().filter(|peer| own != Some(peer.key)).collect()
    }

    /// Waits until the object is here, but not for ever: then it goes on coming.
    ///
    /// # Errors
    /// It is not to be had, or not yet.
    pub async fn fetch(self: &Arc<Self>, hash: Hash) -> Result<(), Missing> {
        let mut flight = self.board(hash)?;
        let landed = flight.wait_for(Option::is_some);
        match timeout(self.limits.patience, landed).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Missing::OnItsWay)),
            Ok(Err(_)) => Err(StoreError::Broken("nobody fetches it any more".to_owned()).into()),
            Err(_) => Err(Missing::OnItsWay),
        }
    }

    /// The fetch that is under way for it, or a new one.
    fn board(self: &Arc<Self>, hash: Hash) -> Result<watch::Receiver<Outcome>, Missing> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&hash) {
            return Ok(flight.clone());
        }
        if flights.len() >= self.limits.fetches {
            return Err(Missing::Busy);
        }
        let (sender, flight) = watch::channel(None);
        flights.insert(hash, flight.clone());
        let fetcher = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = fetcher.run(hash).await;
            // Whoever asks from now on finds the object, or begins anew.
            fetcher.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
            sender.send_replace(Some(outcome));
        });
        Ok(flight)
    }

    async fn run(&self, hash: Hash) -> Result<(), Missing> {
        let peers = peers::turn(self.peers(), hash.as_bytes()[0]);
        let Some(endpoint) = self.endpoint.borrow().clone() else {
            // Nobody can be asked before this service's key counts.
            return Err(if peers.is_empty() {
                Missing::Nowhere
            } else {
                Missing::Silent(peers.len())
            });
        };
        // What has come in part does not go while it is gone on with.
        let tags = self.objects.store().tags();
        let _tag = tags.temp_tag(HashAndFormat::raw(hash)).await.map_err(broken)?;
        self.objects.policy().whole(&hash);
        let mut claim = self.objects.policy().claim();
        let outcome = self.ask_each(&endpoint, peers, hash, &mut claim).await;
        if outcome.is_err() {
            self.objects.given_up(hash);
        }
        outcome
    }

    async fn ask_each(
        &self,
        endpoint: &Endpoint,
        peers: Vec<Peer>,
        hash: Hash,
        claim: &mut Claim,
    ) -> Result<(), Missing> {
        let mut silent = 0;
        for peer in peers {
            let node = peer.node;
            match self.ask(endpoint, &peer, hash, claim).await {
                Answer::Gave => {
                    self.counters.dealt(node, |it| it.gave += 1);
                    self.counters.fetched.add(1);
                    self.objects.keep(hash, Kind::Loose).await?;
                    return Ok(());
                }
                Answer::Lacked => self.counters.dealt(node, |it| it.lacked += 1),
                Answer::Silent => {
                    silent += 1;
                    self.counters.dealt(node, |it| it.silent += 1);
                }
                Answer::Wrong => {
                    say!("board {} sent something else than {hash}", peer.number);
                    self.counters.dealt(node, |it| it.wrong += 1);
                }
                Answer::Unkept(error) => return Err(error.into()),
            }
        }
        Err(if silent == 0 { Missing::Nowhere } else { Missing::Silent(silent) })
    }

    /// Asks one node for what is not here yet of the object.
    async fn ask(&self, endpoint: &Endpoint, peer: &Peer, hash: Hash, claim: &mut Claim) -> Answer {
        let Some(address) = peer.address() else { return Answer::Silent };
        let connecting = timeout(self.limits.connect, endpoint.connect(address, ALPN)).await;
        let Ok(Ok(connection)) = connecting else { return Answer::Silent };
        // Nothing goes for what is larger than all that may be here.
        match timeout(self.limits.silence, get_verified_size(&connection, &hash)).await {
            Ok(Ok((size, _))) => {
                if let Err(full) = self.objects.measure(claim, size).await {
                    return Answer::Unkept(full);
                }
            }
            Ok(Err(error)) => return judge(&error),
            Err(_) => return Answer::Silent,
        }
        let fetch = self.objects.store().remote().fetch(connection, HashAndFormat::raw(hash));
        let mut parts = pin!(fetch.stream());
        loop {
            let Ok(part) = timeout(self.limits.silence, parts.next()).await else {
                return Answer::Silent;
            };
            match part {
                Some(GetProgressItem::Progress(_)) => {}
                Some(GetProgressItem::Done(_)) => return Answer::Gave,
                Some(GetProgressItem::Error(error)) => return judge(&error),
                None => return Answer::Silent,
            }
        }
    }
}

fn broken(error: impl std::fmt::Display) -> StoreError {
    StoreError::Broken(error.to_string())
}

/// What an error says of the node that was asked.
fn judge(error: &GetError) -> Answer {
    match error {
        // So a node of iroh-blobs ends what it cannot give.
        _ if error.iroh_error_code() == Some(ERR_INTERNAL) => Answer::Lacked,
        GetError::AtBlobHeaderNext { source: AtBlobHeaderNextError::NotFound { .. }, .. } => {
            Answer::Lacked
        }
        GetError::Decode { source, .. } => match source {
            DecodeError::ChunkNotFound { .. }
            | DecodeError::ParentNotFound { .. }
            | DecodeError::LeafNotFound { .. } => Answer::Lacked,
            DecodeError::ParentHashMismatch { .. } | DecodeError::LeafHashMismatch { .. } => {
                Answer::Wrong
            }
            DecodeError::Write { .. } => Answer::Unkept(StoreError::Broken(error.to_string())),
            _ => Answer::Silent,
        },
        GetError::LocalFailure { .. } | GetError::IrpcSend { .. } => {
            Answer::Unkept(StoreError::Broken(error.to_string()))
        }
        _ => Answer::Silent,
    }
}
