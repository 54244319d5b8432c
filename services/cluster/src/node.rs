//! What all parts of this unit share, on whichever node.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use octet_node::map::{SignedMap, Update};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::book::NumberRegistry;
use crate::coordinator::Coordinator;
use crate::limits::ClusterLimits;
use crate::member::MemberConnection;
use crate::own::OwnNode;
use crate::pin::{PersistedPin, Pin};
use crate::place::{NodeConfig, NodePosition, Wiring};
use crate::report::NodeReport;
use crate::settings::Settings;
use crate::store::{ClusterStore, ClusterStoreError};

pub struct ClusterNode {
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    pub store: ClusterStore,
    /// Why nothing is read from there, if that is so.
    pub trouble: Option<String>,
    /// What it gives at most.
    pub limits: ClusterLimits,
    pub wiring: Wiring,
    /// The settings that are in force.
    pub settings: watch::Sender<Settings>,
    /// What PID 1 says.
    pub told: watch::Receiver<NodeConfig>,
    pub report: watch::Receiver<NodeReport>,
    /// What `identity` says.
    pub own: OwnNode,
    /// The map, for those who follow it.
    pub update: watch::Sender<Update>,
    /// Whom this node believes, and the map that it has.
    pub kept: RefCell<PersistedPin>,
    pub role: RefCell<NodeRole>,
    /// Room for those who show a long map.
    pub long_joins: Semaphore,
}

#[derive(Clone)]
pub enum NodeRole {
    /// Nothing yet, or never: why.
    Idle(&'static str),
    Coordinator(Rc<Coordinator>),
    Member(Rc<MemberConnection>),
}

impl ClusterNode {
    /// Where this node is; `None` if the box is one board.
    pub fn place(&self) -> Option<NodePosition> {
        let number = self.told.borrow().number;
        let settings = self.settings.borrow();
        Some(self.wiring.place(settings.cluster.as_ref()?, &settings.boards, number))
    }

    /// Has the disk keep `kept`, and then hands it to those who follow the map.
    ///
    /// # Errors
    /// The disk does not take it; all is as before.
    pub async fn keep(&self, kept: PersistedPin) -> Result<(), ClusterStoreError> {
        let (store, next) = (self.store.clone(), kept.clone());
        wait_for_disk(move || store.keep_map(&next, |_| Ok(()))).await?;
        let update = Update { number: kept.number, map: kept.map.clone() };
        *self.kept.borrow_mut() = kept;
        self.update.send_replace(update);
        Ok(())
    }

    /// The same with a coordinator's book: it is there before the map is. A coordinator believes itself: should the
    /// settings name another, that one needs an owner's statement here, too.
    pub async fn keep_book(
        &self,
        book: &NumberRegistry,
        map: SignedMap,
    ) -> Result<(), ClusterStoreError> {
        let (store, next) = (self.store.clone(), book.clone());
        wait_for_disk(move || store.keep_book(&next, |_| Ok(()))).await?;
        let (coordinator, epoch) = (map.map().coordinator, map.map().version.epoch);
        let pin = Some(Pin { coordinator, epoch, key_epoch: map.key_epoch() });
        self.keep(PersistedPin { pin, number: Some(book.number), map: Some(map) }).await
    }
}

/// A thread waits for the disk, and nobody else does.
async fn wait_for_disk(
    work: impl FnOnce() -> Result<(), ClusterStoreError> + Send + 'static,
) -> Result<(), ClusterStoreError> {
    let none = |error| ClusterStoreError::Disk {
        file: "the disk".into(),
        source: std::io::Error::other(error),
    };
    spawn_blocking(work).await.unwrap_or_else(|error| Err(none(error)))
}
