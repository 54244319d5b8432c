//! The shared state of this unit, on any node.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use octet_node::map::{SignedMap, Update};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::coordinator::Coordinator;
use crate::limits::ClusterLimits;
use crate::local_node::LocalNode;
use crate::member::MemberConnection;
use crate::pin::{PersistedPin, Pin};
use crate::position::{BoxAddressing, NodeConfig, NodePosition};
use crate::registry::NumberRegistry;
use crate::report::NodeReport;
use crate::settings::Settings;
use crate::store::{ClusterStore, ClusterStoreError};

pub struct ClusterNode {
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    pub store: ClusterStore,
    /// Why the stored files are unusable, if so.
    pub trouble: Option<String>,
    pub limits: ClusterLimits,
    pub addressing: BoxAddressing,
    /// The active settings.
    pub settings: watch::Sender<Settings>,
    /// The data from PID 1.
    pub init_config: watch::Receiver<NodeConfig>,
    pub report: watch::Receiver<NodeReport>,
    /// The data from `identity`.
    pub identity: LocalNode,
    /// The map, for services that follow it.
    pub update: watch::Sender<Update>,
    /// The trusted coordinator, and the current map.
    pub persisted: RefCell<PersistedPin>,
    pub role: RefCell<NodeRole>,
    /// Permits for long joins.
    pub long_joins: Semaphore,
}

#[derive(Clone)]
pub enum NodeRole {
    /// No role, for this reason.
    Idle(&'static str),
    Coordinator(Rc<Coordinator>),
    Member(Rc<MemberConnection>),
}

impl ClusterNode {
    /// The position of this node; `None` if the box is one board.
    pub fn position(&self) -> Option<NodePosition> {
        let number = self.init_config.borrow().number;
        let settings = self.settings.borrow();
        Some(self.addressing.position(settings.cluster.as_ref()?, &settings.boards, number))
    }

    /// Stores `persisted`, and then publishes it to followers of the map.
    ///
    /// # Errors
    /// It could not be stored; nothing has changed.
    pub async fn persist(&self, persisted: PersistedPin) -> Result<(), ClusterStoreError> {
        let (store, next) = (self.store.clone(), persisted.clone());
        wait_for_disk(move || store.write_pin(&next, |_| Ok(()))).await?;
        let update = Update { number: persisted.number, map: persisted.map.clone() };
        *self.persisted.borrow_mut() = persisted;
        self.update.send_replace(update);
        Ok(())
    }

    /// The same with a coordinator's registry, which is stored before the map. A coordinator trusts
    /// itself: if the settings appoint another one, that one needs an owner's appointment here,
    /// too.
    pub async fn persist_registry(
        &self,
        book: &NumberRegistry,
        map: SignedMap,
    ) -> Result<(), ClusterStoreError> {
        let (store, next) = (self.store.clone(), book.clone());
        wait_for_disk(move || store.write_registry(&next, |_| Ok(()))).await?;
        let (coordinator, epoch) = (map.map().coordinator, map.map().version.epoch);
        let pin = Some(Pin { coordinator, epoch, key_epoch: map.key_epoch() });
        self.persist(PersistedPin { pin, number: Some(book.number), map: Some(map) }).await
    }
}

/// Runs a disk operation in a thread, so that no other task waits.
async fn wait_for_disk(
    work: impl FnOnce() -> Result<(), ClusterStoreError> + Send + 'static,
) -> Result<(), ClusterStoreError> {
    let none = |error| ClusterStoreError::Disk {
        file: "the disk".into(),
        source: std::io::Error::other(error),
    };
    spawn_blocking(work).await.unwrap_or_else(|error| Err(none(error)))
}
