//! The nodes that may give an object: boards of this box, and neighbours.

use std::sync::Arc;
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::{ConnectionError, RecvStream, SendStream};
use iroh_blobs::ALPN;
use octet_node::control::PublicKey;
use octet_node::quic_client::{self, RawKeyConnection};
use tokio::time::timeout;

use super::piece::PeerFault;
use crate::endpoint::BUSY;
use crate::neighbours::{NeighbourNode, Neighbours};
use crate::peers::PeerNode;
use crate::private::PrivatePath;

#[derive(Debug, Clone)]
pub enum Giver {
    Board(PeerNode),
    Neighbour(NeighbourNode),
    /// The node at the end of a private path.
    Private(Arc<PrivatePath>),
}

/// A connection to a node that may give an object.
#[derive(Debug, Clone)]
pub enum GiverConnection {
    Board(iroh::endpoint::Connection),
    Neighbour(quic_client::Connection, PublicKey, Arc<Neighbours>),
    Private(Arc<RawKeyConnection>),
}

impl Giver {
    pub fn node(&self) -> PublicKey {
        match self {
            Self::Board(peer) => peer.node,
            Self::Neighbour(neighbour) => neighbour.node,
            // Nothing is known, or remembered, about it.
            Self::Private(_) => PublicKey::new([0; 32]),
        }
    }

    /// What log messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Board(peer) => format!("board {}", peer.number),
            Self::Neighbour(neighbour) => format!("the neighbour {}", neighbour.name),
            Self::Private(_) => "the end of a private path".to_owned(),
        }
    }

    pub fn is_board(&self) -> bool {
        matches!(self, Self::Board(_))
    }

    /// Connects to a board within `connect_timeout`. A connection to a neighbour may need a path,
    /// and takes as long as that.
    pub async fn connect(
        &self,
        endpoint: Option<&Endpoint>,
        neighbours: &Arc<Neighbours>,
        connect_timeout: Duration,
    ) -> Result<GiverConnection, PeerFault> {
        match self {
            Self::Board(peer) => {
                let address = peer.address().ok_or(PeerFault::Silent)?;
                let endpoint = endpoint.ok_or(PeerFault::Silent)?;
                let connecting = timeout(connect_timeout, endpoint.connect(address, ALPN)).await;
                let Ok(Ok(connection)) = connecting else { return Err(PeerFault::Silent) };
                Ok(GiverConnection::Board(connection))
            }
            Self::Neighbour(to) => {
                let connection = neighbours.connect(to).await.map_err(|_| PeerFault::Silent)?;
                Ok(GiverConnection::Neighbour(connection, to.node, Arc::clone(neighbours)))
            }
            Self::Private(path) => {
                let connection = path.connect().await.ok_or(PeerFault::Silent)?;
                Ok(GiverConnection::Private(Arc::new(connection)))
            }
        }
    }
}

impl GiverConnection {
    pub async fn open(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        match self {
            Self::Board(connection) => connection.open_bi().await,
            Self::Neighbour(connection, ..) => connection.open_bi().await,
            Self::Private(connection) => connection.connection.open_bi().await,
        }
    }

    /// Counts verified bytes that have arrived.
    pub fn count(&self, bytes: u64) {
        if let Self::Neighbour(_, node, neighbours) = self {
            neighbours.traffic.add_bought(*node, bytes);
        }
    }

    /// Whether the other end counts what it sends.
    pub fn is_counted(&self) -> bool {
        !matches!(self, Self::Board(_))
    }

    /// Whether the node has ended the connection because it serves too many.
    pub fn is_busy(&self) -> bool {
        let reason = match self {
            Self::Board(connection) => connection.close_reason(),
            Self::Neighbour(connection, ..) => connection.close_reason(),
            Self::Private(connection) => connection.connection.close_reason(),
        };
        matches!(reason, Some(ConnectionError::ApplicationClosed(it)) if it.error_code == BUSY.into())
    }
}
