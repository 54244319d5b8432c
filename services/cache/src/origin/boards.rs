//! Between boards of the box: a front whose board does not fetch asks the one that does, by HTTP/1.1 on streams of a
//! QUIC connection. Both ends are in the membership map.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use iroh::Endpoint;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use octet_node::control::PublicKey;
use tokio::io::{Join, join};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::OriginFront;
use super::purge::PurgeTurn;
use crate::http::{HttpResponse, text_response};
use crate::limits::CacheLimits;
use crate::peers::PeerNode;

/// The ALPN. A stream has one request.
pub const ALPN: &[u8] = b"octet-origin/1";

/// The error codes with which a connection is closed; any numbers serve.
const NO_MEMBER: u32 = 1;
const REPLACED: u32 = 2;
const IDLE: u32 = 3;

/// A stream to a board.
pub type BoardStream = Join<RecvStream, SendStream>;

/// What is known of a board that fetches.
#[derive(Debug, Clone)]
enum BoardLink {
    Connecting,
    Connected(Connection),
    /// It did not answer, and is tried again in the background.
    Silent,
}

impl BoardLink {
    /// Whether it is all that has to be known of the node with this key.
    fn is_current(&self, key: &PublicKey) -> bool {
        match self {
            Self::Connected(it) => {
                it.remote_id().as_bytes() == key.as_bytes() && it.close_reason().is_none()
            }
            Self::Connecting | Self::Silent => true,
        }
    }
}

/// The boards of the box, and the connections with them.
#[derive(Debug)]
pub struct OriginBoards {
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<PeerNode>>,
    limits: CacheLimits,
    /// To boards that fetch, by their numbers.
    outgoing: Arc<Mutex<BTreeMap<u8, watch::Sender<BoardLink>>>>,
    /// From fronts, by their keys: one of each.
    incoming: Mutex<BTreeMap<PublicKey, Connection>>,
}

impl OriginBoards {
    pub fn new(
        endpoint: watch::Receiver<Option<Endpoint>>,
        peers: watch::Receiver<Vec<PeerNode>>,
        limits: CacheLimits,
    ) -> Self {
        let (outgoing, incoming) = Default::default();
        Self { endpoint, peers, limits, outgoing, incoming }
    }

    /// Whether the map has a node with this key.
    pub fn is_member(&self, node: &[u8; 32]) -> bool {
        self.peers.borrow().iter().any(|peer| peer.node.as_bytes() == node)
    }

    /// How long a board may take for an answer that needs no other one's.
    pub fn request_timeout(&self) -> Duration {
        self.limits.request_timeout
    }

    /// Whether there is a map, and the board is not in it.
    pub fn is_gone(&self, board: u8) -> bool {
        let peers = self.peers.borrow();
        !peers.is_empty() && peers.iter().all(|peer| peer.number != board)
    }

    /// The node of the board, if the map has it.
    pub fn node(&self, board: u8) -> Option<[u8; 32]> {
        self.peer(board).map(|peer| *peer.node.as_bytes())
    }

    fn peer(&self, board: u8) -> Option<PeerNode> {
        self.peers.borrow().iter().find(|peer| peer.number == board).cloned()
    }

    /// A new stream to the board. There is one connection, which stays for further requests. Nobody waits for a board
    /// that is known not to answer.
    ///
    /// # Errors
    /// The board is not in the map, or does not answer.
    pub async fn open(&self, board: u8) -> io::Result<BoardStream> {
        let peer = self.peer(board).ok_or_else(|| {
            io::Error::other(format!("board {board} is not in the membership map"))
        })?;
        let mut link = self.link(&peer);
        let known = link.wait_for(|it| !matches!(it, BoardLink::Connecting)).await;
        let Ok(BoardLink::Connected(connection)) = known.map(|it| it.clone()) else {
            return Err(io::Error::other(format!("board {board} does not answer")));
        };
        let (to, from) = connection.open_bi().await.map_err(io::Error::other)?;
        Ok(join(from, to))
    }

    /// The link to a board; a handshake begins if there is none.
    fn link(&self, peer: &PeerNode) -> watch::Receiver<BoardLink> {
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = outgoing.get(&peer.number)
            && link.borrow().is_current(&peer.key)
        {
            return link.subscribe();
        }
        let (sender, link) = watch::channel(BoardLink::Connecting);
        outgoing.insert(peer.number, sender.clone());
        drop(outgoing);
        let connecting = BoardConnecting {
            board: peer.number,
            endpoint: self.endpoint.clone(),
            peers: self.peers.clone(),
            limits: self.limits,
            outgoing: Arc::clone(&self.outgoing),
            link: sender,
        };
        tokio::spawn(connecting.run());
        link
    }

    /// Takes the place of an earlier connection with the same key.
    fn enter(&self, key: PublicKey, connection: &Connection) {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        // The keys are of members, and those that are no longer are closed by their ends.
        incoming.retain(|_, it| it.close_reason().is_none());
        if let Some(former) = incoming.insert(key, connection.clone()) {
            former.close(REPLACED.into(), b"there is a newer connection");
        }
    }
}

/// Connects to a board, however often it takes.
struct BoardConnecting {
    board: u8,
    endpoint: watch::Receiver<Option<Endpoint>>,
    peers: watch::Receiver<Vec<PeerNode>>,
    limits: CacheLimits,
    outgoing: Arc<Mutex<BTreeMap<u8, watch::Sender<BoardLink>>>>,
    link: watch::Sender<BoardLink>,
}

impl BoardConnecting {
    async fn run(self) {
        loop {
            let find =
                |peers: &[PeerNode]| peers.iter().find(|it| it.number == self.board).cloned();
            let Some(peer) = find(&self.peers.borrow()) else { break };
            if let Some(connection) = self.connect(&peer).await {
                self.link.send_replace(BoardLink::Connected(connection));
                return;
            }
            self.link.send_replace(BoardLink::Silent);
            sleep(self.limits.board_retry).await;
        }
        // It left the map.
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        if outgoing.get(&self.board).is_some_and(|it| it.same_channel(&self.link)) {
            outgoing.remove(&self.board);
        }
    }

    async fn connect(&self, peer: &PeerNode) -> Option<Connection> {
        let endpoint = self.endpoint.borrow().clone()?;
        let connecting = endpoint.connect(peer.address()?, ALPN);
        timeout(self.limits.connect_timeout, connecting).await.ok()?.ok()
    }
}

impl OriginFront {
    /// Answers the requests of another board, until the connection ends, is idle for too long, or the board is not
    /// in the map any more.
    pub async fn serve_board(self: &Arc<Self>, connection: &Connection) {
        let boards = &self.boards;
        let key = PublicKey::new(*connection.remote_id().as_bytes());
        let mut peers = boards.peers.clone();
        let is_member = |peers: &[PeerNode]| peers.iter().any(|peer| peer.key == key);
        let mut is_entered = false;
        let mut streams = JoinSet::new();
        let purging = Arc::new(PurgeTurn::default());
        loop {
            if !is_member(&peers.borrow_and_update()) {
                connection.close(NO_MEMBER.into(), b"this is for boards of the box");
                break;
            }
            if !is_entered {
                boards.enter(key, connection);
                is_entered = true;
            }
            tokio::select! {
                Ok(()) = peers.changed() => {}
                Some(_) = streams.join_next() => {}
                stream = connection.accept_bi() => {
                    let Ok((to, from)) = stream else { break };
                    let purging = Arc::clone(&purging);
                    streams.spawn(Arc::clone(self).serve_stream(join(from, to), purging));
                }
                () = sleep(boards.limits.request_timeout), if streams.is_empty() => {
                    connection.close(IDLE.into(), b"nothing was asked");
                    break;
                }
            }
        }
    }

    async fn serve_stream(self: Arc<Self>, stream: BoardStream, purging: Arc<PurgeTurn>) {
        let limit = self.boards.limits.header_timeout;
        let service = service_fn(move |request: Request<Incoming>| {
            let (front, purging) = (Arc::clone(&self), Arc::clone(&purging));
            async move { Ok::<_, io::Error>(front.answer_board(request, &purging).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limit)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // The error concerns the board only.
        let _ = served.await;
    }

    async fn answer_board(
        self: &Arc<Self>,
        request: Request<Incoming>,
        purging: &PurgeTurn,
    ) -> HttpResponse {
        let name = request.headers().get(HOST).and_then(|name| name.to_str().ok());
        if let Some(answer) = self.answer_purge(name.unwrap_or_default(), &request, purging).await {
            return answer;
        }
        // A board that does not fetch asks no third one.
        match name.and_then(|name| self.fetched(name)) {
            Some(origin) => self.serve(origin, None, request.into_parts().0).await,
            None => {
                let why = "this board does not fetch from the origin: look whether all boards have the same settings";
                text_response(StatusCode::MISDIRECTED_REQUEST, why)
            }
        }
    }
}
