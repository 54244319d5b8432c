//! The coordinator: it maintains the registry, and distributes the map.

mod connected;
mod listener;
mod session;
mod show;
mod status;

use std::cell::RefCell;
use std::rc::Rc;

use octet_node::control::PublicKey;
use octet_node::digest::sha256;
use octet_node::limits::{Rate, RateDecision, RateLimiter};
use octet_node::map::{InvalidMap, SignedMap};
use octet_node::record::SeatRecord;
use octet_node::say;
use octet_node::statement::SignedAppointment;
use octet_node::sub_key::Certified;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::node::ClusterNode;
use crate::pin::PersistedPin;
use crate::registry::{
    AdminContext, AdminError, Candidate, Enrolled, JoinDecision, JoinRefusal, NumberRegistry,
    RecoveryError,
};
use crate::rules::{EnrolmentRules, Forbidden};
use crate::store::ClusterStoreError;
use connected::ConnectedNodes;

pub use listener::serve;

/// The maximum number of limited boards: a board's number is a `u8`.
const MAX_NUMBERS: usize = 256;

pub struct Coordinator {
    node: Rc<ClusterNode>,
    registry: RefCell<NumberRegistry>,
    /// Serialises changes of the registry, which take as long as the disk.
    changing: Mutex<()>,
    /// The connected, waiting and refused nodes.
    connected: RefCell<ConnectedNodes>,
    /// The rate limit of map changes per board: each change is signed, and written and synced on
    /// all nodes.
    changes: RefCell<RateLimiter<u8>>,
    /// The origin of the rate limit's clock.
    start: Instant,
    /// Signals a change of the registry or the rules.
    turn: watch::Sender<()>,
}

/// Why the registry was not changed.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The registry could not be stored.
    #[error("it cannot be stored: {0}")]
    Store(#[from] ClusterStoreError),
    /// The map cannot be signed.
    #[error("the map cannot be signed: {0}")]
    Map(#[from] InvalidMap),
    /// There is no signing key.
    #[error("this service's key is not certified yet")]
    NoKey,
    /// The settings have no cluster.
    #[error("this box is one board")]
    NoCluster,
    /// The appointment by an owner is missing.
    #[error("the coordinator is {0}, and no owner has stated that this node takes its place")]
    NotAppointed(PublicKey),
    /// The settings do not allow the coordinator at its own number.
    #[error("this node cannot be the coordinator: {0}")]
    Forbidden(#[from] Forbidden),
    /// The board has changed the map too often.
    #[error("this board has changed the map too often, and may again in a while")]
    RateLimited,
    /// The map's numbers are exhausted.
    #[error("the map has the highest number that there is")]
    LastNumber,
    /// The rules do not allow it.
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
}

impl CoordinatorError {
    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Store(_) => "`octetctl boot` tells how the data partition is",
            Self::Map(_) | Self::NoKey => {
                "`identity show` tells how the node's keys are; ask again"
            }
            Self::NoCluster => "add [cluster] to the settings",
            Self::NotAppointed(_) => {
                "sign a statement with `octetctl sign-coordinator`, and give it to this node with `cluster adopt`"
            }
            Self::RateLimited => "wait: the board comes again by itself",
            Self::LastNumber => {
                "sign a statement of a higher epoch for this node with `octetctl sign-coordinator`, and give it with `cluster adopt`: numbers begin again"
            }
            Self::Forbidden(_) => "see `key` in [[board]]",
            Self::Admin(problem) => problem.help(),
            Self::Refused(_) => "see what `cluster show` says about it",
        }
    }
}

impl Coordinator {
    /// Starts the coordinator on node `number` with the key `certified`. It loads the registry, or
    /// makes a new one at the first start.
    ///
    /// # Errors
    /// The registry is damaged or another node's: without it, boards cannot be told from impostors.
    pub fn open(
        node: Rc<ClusterNode>,
        number: u8,
        certified: &Certified,
    ) -> Result<Rc<Self>, String> {
        let own = certified.certificate.body().node;
        let registry = match node.store.read_registry() {
            Ok(Some(mut registry)) if registry.coordinator == own => {
                registry.set_number(number);
                registry
            }
            Ok(Some(registry)) => {
                return Err(format!("the book here is that of {}", registry.coordinator));
            }
            // A lost registry can be mostly recovered from the map; without either, nothing is
            // known.
            Ok(None) if node.trouble.is_some() => {
                return Err(node.trouble.clone().unwrap_or_default());
            }
            Ok(None) => {
                let mut registry = NumberRegistry::new(own, number);
                recover(&mut registry, &node.persisted.borrow());
                registry
            }
            Err(error) => return Err(error.to_string()),
        };
        let (connected, turn) = (RefCell::default(), watch::Sender::new(()));
        let (registry, changing) = (RefCell::new(registry), Mutex::new(()));
        let limits = node.limits;
        let rate = Rate { burst: limits.changes, interval: limits.change_interval };
        let changes = RateLimiter::new(rate, MAX_NUMBERS).into();
        let start = Instant::now();
        Ok(Rc::new(Self { node, registry, changing, connected, changes, start, turn }))
    }

    /// The active rules.
    fn rules(&self) -> Result<EnrolmentRules, CoordinatorError> {
        let settings = self.node.settings.borrow();
        let cluster = settings.cluster.as_ref().ok_or(CoordinatorError::NoCluster)?;
        Ok(EnrolmentRules::new(cluster, &settings.boards))
    }

    fn owners(&self) -> Vec<PublicKey> {
        self.node.settings.borrow().owners.clone()
    }

    /// Updates the map after changes of the settings or of `identity`.
    ///
    /// # Errors
    /// The map cannot be stored or signed; the old map stays.
    pub async fn renew(&self) -> Result<(), CoordinatorError> {
        self.change(|_, _| Ok(())).await?;
        self.turn.send_replace(());
        Ok(())
    }

    /// Handles `candidate` at the port of board `number`. If the rate limit delays its new keys,
    /// the time for them is returned, too.
    ///
    /// # Errors
    /// The candidate is refused, or the registry cannot be stored.
    async fn join(
        &self,
        number: u8,
        candidate: &Candidate,
    ) -> Result<(JoinDecision, Option<Instant>), CoordinatorError> {
        let now = now();
        self.change(|registry, hand| {
            let before = registry.enrolled(number).cloned();
            let verdict = registry.join(number, candidate, hand.rules, now)?;
            let after = registry.enrolled(number);
            let is_same = |before: &Enrolled| after.is_some_and(|it| it.node == before.node);
            let Some(before) = before.filter(|it| is_same(it) && after != Some(it)) else {
                return Ok((verdict, None));
            };
            let later = self.limited_until(number);
            match later {
                Some(_) => registry.restore(number, before),
                None => say!("board {number} {}: it has other keys", before.node),
            }
            Ok((verdict, later))
        })
        .await
    }

    /// Checks the rate limit of board `number`. Returns the next permitted time, if that is not
    /// now.
    fn limited_until(&self, number: u8) -> Option<Instant> {
        let mut changes = self.changes.borrow_mut();
        let answer = changes.check(number, self.start.elapsed());
        if answer == RateDecision::LimitedFromNow {
            say!("board {number} changes too often, which is in the map later");
        }
        (answer != RateDecision::Allowed).then(|| self.start + changes.next(number))
    }

    /// The digest of the current map.
    fn digest(&self) -> Option<String> {
        let kept = self.node.persisted.borrow();
        kept.map.as_ref().map(|signed| sha256(signed.text().as_bytes()))
    }

    /// Handles a map that a board has presented and that is not the current one.
    ///
    /// # Errors
    /// The rate limit is exceeded: the map is handled when the board connects again.
    async fn recover(
        &self,
        signed: &SignedMap,
        number: u8,
        candidate: &Candidate,
    ) -> Result<(), CoordinatorError> {
        let now = now();
        let mut learned = Ok(());
        let kept = self.change(|registry, _| {
            learned = registry.recover_from_map(signed, number, candidate, now);
            match learned.is_ok() && self.limited_until(number).is_some() {
                true => Err(CoordinatorError::RateLimited),
                false => Ok(()),
            }
        });
        let version = signed.map().version;
        match (kept.await, learned) {
            (Ok(()), Ok(())) => say!(
                "board {number} has shown the map {} of epoch {} by {}: it is taken over",
                version.sequence,
                version.epoch,
                signed.map().coordinator
            ),
            (Err(CoordinatorError::RateLimited), _) => return Err(CoordinatorError::RateLimited),
            (Err(problem), _) => say!("the map from board {number} is not adopted: {problem}"),
            // The board was off for a while.
            (_, Err(RecoveryError::Old)) => {}
            (_, Err(why)) => {
                say!("board {number} has sent a map that is not adopted: {why}");
            }
        }
        Ok(())
    }

    /// Approves the node that waits at board `number`.
    ///
    /// # Errors
    /// No node waits, or it is refused.
    pub async fn approve(
        &self,
        number: u8,
        record: Option<SeatRecord>,
    ) -> Result<PublicKey, CoordinatorError> {
        let pending = self
            .connected
            .borrow()
            .pending_candidate(number)
            .ok_or(AdminError::NonePending(number))?;
        let now = now();
        self.change(|registry, hand| Ok(registry.approve(number, &pending, record, hand, now)?))
            .await?;
        Ok(pending.node)
    }

    /// Stores an owner's record of the node that is board `number`.
    ///
    /// # Errors
    /// It is for another node, or it cannot be stored.
    pub async fn record(
        &self,
        number: u8,
        record: SeatRecord,
    ) -> Result<PublicKey, CoordinatorError> {
        self.change(|registry, hand| Ok(registry.record(number, record, hand)?)).await
    }

    /// Permits another key as board `number`.
    pub async fn replace(
        &self,
        number: u8,
        record: Option<SeatRecord>,
    ) -> Result<(), CoordinatorError> {
        self.change(|registry, hand| Ok(registry.replace(number, record, hand)?)).await
    }

    /// Drains board `number`, or ends that.
    ///
    /// # Errors
    /// The board has no key, or the change cannot be stored.
    pub async fn set_drained(
        &self,
        number: u8,
        drained: bool,
    ) -> Result<PublicKey, CoordinatorError> {
        self.change(|registry, hand| Ok(registry.drain(number, drained, hand)?)).await
    }

    /// Revokes the key of board `number`.
    ///
    /// # Errors
    /// The board has no key, or the list is full.
    pub async fn revoke(&self, number: u8) -> Result<PublicKey, CoordinatorError> {
        self.change(|registry, _| Ok(registry.revoke(number)?)).await
    }

    /// Adopts an owner's appointment of this node.
    ///
    /// # Errors
    /// The appointment is invalid.
    pub async fn adopt(&self, statement: SignedAppointment) -> Result<u64, CoordinatorError> {
        // This node's own copy of the previous map is as good as a board's.
        let kept = self.node.persisted.borrow().clone();
        self.change(|registry, hand| {
            registry.adopt(statement, hand)?;
            recover(registry, &kept);
            Ok(registry.version.epoch)
        })
        .await
    }

    /// Checks that this node may make maps of `registry`. If it trusts another coordinator, that one's
    /// map stays until an owner has appointed this node.
    fn check_appointment(
        &self,
        registry: &NumberRegistry,
        rules: &EnrolmentRules,
    ) -> Result<(), CoordinatorError> {
        rules.check_coordinator(registry.number, &registry.coordinator)?;
        match self.node.persisted.borrow().pin {
            Some(pin)
                if pin.coordinator != registry.coordinator
                    && pin.epoch >= registry.version.epoch =>
            {
                Err(CoordinatorError::NotAppointed(pin.coordinator))
            }
            _ => Ok(()),
        }
    }

    /// Changes the registry: it is stored, with a new map if that changes, before the change is
    /// announced. On failure nothing changes.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut NumberRegistry, AdminContext<'_>) -> Result<T, CoordinatorError>,
    ) -> Result<T, CoordinatorError> {
        let _one_at_a_time = self.changing.lock().await;
        let (rules, owners) = (self.rules()?, self.owners());
        let certified =
            self.node.identity.certified.borrow().clone().ok_or(CoordinatorError::NoKey)?;
        let before = self.registry.borrow().clone();
        let mut registry = before.clone();
        let own = self.node.identity.certificates.borrow().clone();
        let complete = own.is_some();
        let own = own.into_iter().flatten().chain([certified.certificate.clone()]).collect();
        registry.set_own_certificates(own, complete);
        let value = change(&mut registry, AdminContext { rules: &rules, owners: &owners })?;
        self.check_appointment(&registry, &rules)?;
        let map = registry.map(&rules);
        let published = self.node.persisted.borrow().map.clone();
        if published.as_ref().is_some_and(|published| *published.map() == map) {
            if registry != before {
                let map = published.ok_or(CoordinatorError::NoKey)?;
                self.node.persist_registry(&registry, map).await?;
                self.registry.replace(registry);
                self.turn.send_replace(());
            }
            return Ok(value);
        }
        registry.version.sequence =
            registry.version.sequence.checked_add(1).ok_or(CoordinatorError::LastNumber)?;
        let map = registry.map(&rules);
        let signed = SignedMap::sign(map, certified.certificate.clone(), &certified.key)?;
        registry.remember(&signed);
        self.node.persist_registry(&registry, signed).await?;
        say!(
            "map {} of epoch {}: {} nodes",
            registry.version.sequence,
            registry.version.epoch,
            self.node.persisted.borrow().map.as_ref().map_or(0, |it| it.map().members.len())
        );
        self.registry.replace(registry);
        self.turn.send_replace(());
        Ok(value)
    }
}

/// Recovers `registry` from this node's own map, if that is useful.
fn recover(registry: &mut NumberRegistry, kept: &PersistedPin) {
    if let Some(signed) = &kept.map {
        let seen = kept.pin.map_or(0, |pin| pin.key_epoch).max(signed.key_epoch());
        let _ = registry.recover(signed, seen, now());
    }
}

/// The time in seconds since 1970, for display.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
