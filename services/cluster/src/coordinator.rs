//! The coordinator: it has the book, and gives everyone the map.

mod entry;
mod present;
mod rate;
mod session;
mod show;
mod status;

use std::cell::RefCell;
use std::rc::Rc;

use octet_node::control::PublicKey;
use octet_node::digest::sha256;
use octet_node::map::{InvalidMap, SignedMap};
use octet_node::record::SeatRecord;
use octet_node::say;
use octet_node::statement::SignedAppointment;
use octet_node::sub_key::Certified;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::book::{
    Candidate, CannotBe, Enrolled, Hand, JoinDecision, JoinRefusal, NotLearned, NumberRegistry,
};
use crate::node::ClusterNode;
use crate::pin::PersistedPin;
use crate::rules::{EnrolmentRules, Forbidden};
use crate::store::ClusterStoreError;
use present::ConnectedNodes;
use rate::{RateDecision, RateLimiter};

pub use entry::keep;

pub struct Coordinator {
    node: Rc<ClusterNode>,
    book: RefCell<NumberRegistry>,
    /// Held while the book is changed, which takes as long as the disk does.
    changing: Mutex<()>,
    /// Who is there, who waits, and who was refused.
    present: RefCell<ConnectedNodes>,
    /// How often each board may change the map: every change is signed, and written and synced on all nodes.
    changes: RefCell<RateLimiter>,
    /// Since when that is counted.
    start: Instant,
    /// Turns whenever the book or the rules have changed.
    turn: watch::Sender<()>,
}

/// Why the book is not changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// The disk does not take it.
    #[error("it cannot be kept: {0}")]
    Store(#[from] ClusterStoreError),
    /// The map cannot be signed.
    #[error("the map cannot be signed: {0}")]
    Map(#[from] InvalidMap),
    /// There is no key to sign with.
    #[error("this service's key is not certified yet")]
    NoKey,
    /// The settings are without a cluster.
    #[error("this box is one board")]
    NoCluster,
    /// An owner has not said yet that this node is the coordinator.
    #[error("the coordinator is {0}, and no owner has stated that this node takes its place")]
    NotStated(PublicKey),
    /// The settings do not let the coordinator be the board that it is.
    #[error("this node cannot hold the map: {0}")]
    Forbidden(#[from] Forbidden),
    /// A board has changed the map too often.
    #[error("this board has changed the map too often, and may again in a while")]
    TooSoon,
    /// There is no higher number for a map.
    #[error("the map has the highest number that there is")]
    LastNumber,
    /// It cannot be by the rules.
    #[error(transparent)]
    CannotBe(#[from] CannotBe),
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
}

impl Unchanged {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Store(_) => "`octetctl boot` tells how the data partition is",
            Self::Map(_) | Self::NoKey => {
                "`identity show` tells how the node's keys are; ask again"
            }
            Self::NoCluster => "add [cluster] to the settings",
            Self::NotStated(_) => {
                "sign a statement with `octetctl sign-coordinator`, and give it to this node with `cluster adopt`"
            }
            Self::TooSoon => "wait: the board comes again by itself",
            Self::LastNumber => {
                "sign a statement of a higher epoch for this node with `octetctl sign-coordinator`, and give it with `cluster adopt`: numbers begin again"
            }
            Self::Forbidden(_) => "see `key` in [[board]]",
            Self::CannotBe(problem) => problem.help(),
            Self::Refused(_) => "see what `cluster show` says about it",
        }
    }
}

impl Coordinator {
    /// The node `number`, whose key is `certified`, with the book that it has kept; at the first start
    /// with a new one.
    ///
    /// # Errors
    /// There is a book, and it is damaged or another node's: without it nobody can be told from another.
    pub fn open(
        node: Rc<ClusterNode>,
        number: u8,
        certified: &Certified,
    ) -> Result<Rc<Self>, String> {
        let own = certified.certificate.statement().node;
        let book = match node.store.book() {
            Ok(Some(mut book)) if book.coordinator == own => {
                book.be_at(number);
                book
            }
            Ok(Some(book)) => return Err(format!("the book here is that of {}", book.coordinator)),
            // The map says most of what a book that is lost did; without either nothing is known.
            Ok(None) if node.trouble.is_some() => {
                return Err(node.trouble.clone().unwrap_or_default());
            }
            Ok(None) => {
                let mut book = NumberRegistry::new(own, number);
                recover(&mut book, &node.kept.borrow());
                book
            }
            Err(error) => return Err(error.to_string()),
        };
        let (present, turn) = (RefCell::default(), watch::Sender::new(()));
        let (book, changing) = (RefCell::new(book), Mutex::new(()));
        let limits = node.limits;
        let changes = RateLimiter::new(limits.changes, limits.change_interval).into();
        let start = Instant::now();
        Ok(Rc::new(Self { node, book, changing, present, changes, start, turn }))
    }

    /// The rules that are in force.
    fn rules(&self) -> Result<EnrolmentRules, Unchanged> {
        let settings = self.node.settings.borrow();
        let cluster = settings.cluster.as_ref().ok_or(Unchanged::NoCluster)?;
        Ok(EnrolmentRules::new(cluster, &settings.boards))
    }

    fn owners(&self) -> Vec<PublicKey> {
        self.node.settings.borrow().owners.clone()
    }

    /// What the settings and `identity` say may be something else: has the map say it.
    ///
    /// # Errors
    /// It cannot be kept or signed; the old map stays.
    pub async fn renew(&self) -> Result<(), Unchanged> {
        self.change(|_, _| Ok(())).await?;
        self.turn.send_replace(());
        Ok(())
    }

    /// `candidate` is at the port of board `number`. If it is the board, and has other keys again too soon, it
    /// also returns when these may be in the map.
    ///
    /// # Errors
    /// It is not taken, or what was taken cannot be kept.
    async fn join(
        &self,
        number: u8,
        candidate: &Candidate,
    ) -> Result<(JoinDecision, Option<Instant>), Unchanged> {
        let now = now();
        self.change(|book, hand| {
            let before = book.enrolled(number).cloned();
            let verdict = book.join(number, candidate, hand.rules, now)?;
            let after = book.enrolled(number);
            let is_same = |before: &Enrolled| after.is_some_and(|it| it.node == before.node);
            let Some(before) = before.filter(|it| is_same(it) && after != Some(it)) else {
                return Ok((verdict, None));
            };
            let later = self.too_soon(number);
            match later {
                Some(_) => book.put_back(number, before),
                None => say!("board {number} {}: it has other keys", before.node),
            }
            Ok((verdict, later))
        })
        .await
    }

    /// Board `number` wants to change the map. Returns when it may, if that is not now.
    fn too_soon(&self, number: u8) -> Option<Instant> {
        let mut changes = self.changes.borrow_mut();
        let answer = changes.check(number, self.start.elapsed());
        if answer == RateDecision::LimitedFromNow {
            say!("board {number} changes too often, which is in the map later");
        }
        (answer != RateDecision::Allowed).then(|| self.start + changes.next(number))
    }

    /// The digest of the map that everyone is given.
    fn digest(&self) -> Option<String> {
        let kept = self.node.kept.borrow();
        kept.map.as_ref().map(|signed| sha256(signed.text().as_bytes()))
    }

    /// A board has shown `signed`, which is another map than everyone is given.
    ///
    /// # Errors
    /// It has shown too many: what this one says is learned when the board comes again.
    async fn learn(
        &self,
        signed: &SignedMap,
        number: u8,
        candidate: &Candidate,
    ) -> Result<(), Unchanged> {
        let now = now();
        let mut learned = Ok(());
        let kept = self.change(|book, _| {
            learned = book.learn(signed, number, candidate, now);
            match learned.is_ok() && self.too_soon(number).is_some() {
                true => Err(Unchanged::TooSoon),
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
            (Err(Unchanged::TooSoon), _) => return Err(Unchanged::TooSoon),
            (Err(problem), _) => say!("a map of board {number} is not taken over: {problem}"),
            // It was off for a while.
            (_, Err(NotLearned::Old)) => {}
            (_, Err(why)) => {
                say!("board {number} has shown a map that is not taken over: {why}");
            }
        }
        Ok(())
    }

    /// An owner approves whoever waits at board `number`.
    ///
    /// # Errors
    /// Nobody does, or it cannot be.
    pub async fn approve(
        &self,
        number: u8,
        record: Option<SeatRecord>,
    ) -> Result<PublicKey, Unchanged> {
        let waits = self.present.borrow().waiting(number).ok_or(CannotBe::NobodyWaits(number))?;
        let now = now();
        self.change(|book, hand| Ok(book.approve(number, &waits, record, hand, now)?)).await?;
        Ok(waits.node)
    }

    /// An owner says which node board `number` is: the one that is there already.
    ///
    /// # Errors
    /// It is another, or it cannot be kept.
    pub async fn record(&self, number: u8, record: SeatRecord) -> Result<PublicKey, Unchanged> {
        self.change(|book, hand| Ok(book.record(number, record, hand)?)).await
    }

    /// An owner lets another key be board `number`.
    pub async fn replace(&self, number: u8, record: Option<SeatRecord>) -> Result<(), Unchanged> {
        self.change(|book, hand| Ok(book.replace(number, record, hand)?)).await
    }

    /// An operator has nothing placed on board `number`, or again what the settings say.
    ///
    /// # Errors
    /// It has no key, or that cannot be kept.
    pub async fn drain(&self, number: u8, drained: bool) -> Result<PublicKey, Unchanged> {
        self.change(|book, hand| Ok(book.drain(number, drained, hand)?)).await
    }

    /// An owner revokes the key of board `number`.
    ///
    /// # Errors
    /// It has none, or there is no room.
    pub async fn revoke(&self, number: u8) -> Result<PublicKey, Unchanged> {
        self.change(|book, _| Ok(book.revoke(number)?)).await
    }

    /// An owner makes this node the coordinator.
    ///
    /// # Errors
    /// The statement does not say so.
    pub async fn adopt(&self, statement: SignedAppointment) -> Result<u64, Unchanged> {
        // What this node has itself of the coordinator before is as good as what a board shows.
        let kept = self.node.kept.borrow().clone();
        self.change(|book, hand| {
            book.adopt(statement, hand)?;
            recover(book, &kept);
            Ok(book.version.epoch)
        })
        .await
    }

    /// Sees that this node can make maps of `book`. If it believes another coordinator, the map of that one stays
    /// here until an owner has stated that this node takes its place.
    fn may_hold(&self, book: &NumberRegistry, rules: &EnrolmentRules) -> Result<(), Unchanged> {
        rules.check_coordinator(book.number, &book.coordinator)?;
        match self.node.kept.borrow().pin {
            Some(pin) if pin.coordinator != book.coordinator && pin.epoch >= book.version.epoch => {
                Err(Unchanged::NotStated(pin.coordinator))
            }
            _ => Ok(()),
        }
    }

    /// Changes the book: it is written down, and a new map if it comes to another, before anybody is
    /// told. If that cannot be, all is as before.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut NumberRegistry, Hand<'_>) -> Result<T, Unchanged>,
    ) -> Result<T, Unchanged> {
        let _one_at_a_time = self.changing.lock().await;
        let (rules, owners) = (self.rules()?, self.owners());
        let certified = self.node.own.certified.borrow().clone().ok_or(Unchanged::NoKey)?;
        let before = self.book.borrow().clone();
        let mut book = before.clone();
        let own = self.node.own.certificates.borrow().clone();
        let complete = own.is_some();
        let own = own.into_iter().flatten().chain([certified.certificate.clone()]).collect();
        book.say_own(own, complete);
        let value = change(&mut book, Hand { rules: &rules, owners: &owners })?;
        self.may_hold(&book, &rules)?;
        let map = book.map(&rules);
        let published = self.node.kept.borrow().map.clone();
        if published.as_ref().is_some_and(|published| *published.map() == map) {
            if book != before {
                let map = published.ok_or(Unchanged::NoKey)?;
                self.node.keep_book(&book, map).await?;
                self.book.replace(book);
                self.turn.send_replace(());
            }
            return Ok(value);
        }
        book.version.sequence =
            book.version.sequence.checked_add(1).ok_or(Unchanged::LastNumber)?;
        let map = book.map(&rules);
        let signed = SignedMap::sign(map, certified.certificate.clone(), &certified.key)?;
        book.remember(&signed);
        self.node.keep_book(&book, signed).await?;
        say!(
            "map {} of epoch {}: {} nodes",
            book.version.sequence,
            book.version.epoch,
            self.node.kept.borrow().map.as_ref().map_or(0, |it| it.map().members.len())
        );
        self.book.replace(book);
        self.turn.send_replace(());
        Ok(value)
    }
}

/// Has `book` learn from the map that this node has itself, if it is of any use.
fn recover(book: &mut NumberRegistry, kept: &PersistedPin) {
    if let Some(signed) = &kept.map {
        let seen = kept.pin.map_or(0, |pin| pin.key_epoch).max(signed.key_epoch());
        let _ = book.recover(signed, seen, now());
    }
}

/// The time, in seconds since 1970: for people.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
