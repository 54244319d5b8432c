//! The network as it is kept: rules, then links and addresses, as what is told says.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use octet_appliance::Addressing;
use octet_node::control::{Client, INIT, SOCKETS};
use octet_node::links as reported;
use octet_node::say;
use serde_json::{Map, json};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::advert::AdvertisedAddress;
use crate::backend::{Backend, BackendError};
use crate::daemon::NetdError;
use crate::fault;
use crate::generation::Author;
use crate::lease::{self, UplinkLease};
use crate::links::links;
use crate::observed::Observed;
use crate::plan::{self, AdvertisementState, KernelPlan, PlanStep, UplinkLeaseState};
use crate::plugged::{InvalidReport, PortBindings};
use crate::router::flows::still_lets;
use crate::rules::NodeTables;
use crate::serve::ServeState;
use crate::told::{NetworkConfig, NodeFacts};

/// Rounds of observing and changing after which it is told that something does not stay as it is
/// set, and waited for the next event.
const MAX_ROUNDS: usize = 4;

/// Between two times that rules which somebody else has changed are put right: two who do so against
/// each other leave the processor to others.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The network as it is kept.
pub struct Network<B> {
    told: NetworkConfig,
    node: Arc<NodeFacts>,
    backend: B,
    shared: Rc<ServeState<B>>,
    began: Instant,
    plugged: PortBindings,
    /// The rules that the backend has, unless that is not known.
    rules: Option<NodeTables>,
    leased: UplinkLeaseState,
    advertised: AdvertisementState,
    /// Which board of the box the last lease said this is, and PID 1 was told.
    board: Option<u8>,
    /// Which node this is, as PID 1 has it.
    number: Option<u8>,
    /// What could not be set last time, so that it is not told all the time.
    trouble: Option<String>,
    /// When rules that somebody else has changed are put right; or were, last time.
    mend: Option<Instant>,
    mended: Option<Instant>,
}

impl<B: Backend> Network<B> {
    /// As `told` says, once it is [`begin`](Self::begin)un.
    pub fn new(
        told: NetworkConfig,
        node: Arc<NodeFacts>,
        backend: B,
        shared: Rc<ServeState<B>>,
    ) -> Self {
        Self {
            told,
            number: node.number,
            node,
            backend,
            shared,
            began: Instant::now(),
            plugged: PortBindings::default(),
            rules: None,
            leased: UplinkLeaseState::Unknown,
            advertised: AdvertisementState::Unknown,
            board: None,
            trouble: None,
            mend: None,
            mended: None,
        }
    }

    /// Rules first of all: until they stand no link is switched on.
    ///
    /// # Errors
    /// The rules do not stand, or the kernel does not answer.
    pub async fn begin(&mut self) -> Result<(), NetdError> {
        // What is advertised is for `lan` to hear, and for netd to judge.
        self.backend.prepare(self.told.router.is_some());
        if self.told.router.is_some() {
            // Who was there when netd ended is there still, if his link was not down since.
            self.plugged = self.backend.plugged().await;
            let observed = self.observe().await?;
            self.plugged.forget(self.told.router.as_ref(), &observed);
        }
        if fault::is("reversed") {
            self.settle().await?;
            self.load_or_end().await?;
        } else {
            self.load_or_end().await?;
            self.settle().await?;
        }
        self.end_flows_or_say().await;
        Ok(())
    }

    /// Has the network be as `told` says. Rules come before addresses, as at the start. If the kernel
    /// does not take it, all of it is as it was before.
    pub async fn change(&mut self, told: NetworkConfig) -> Result<Result<(), String>, NetdError> {
        if told == self.told {
            return Ok(Ok(()));
        }
        fault::begin();
        let before = std::mem::replace(&mut self.told, told);
        if fault::is("reversed") {
            self.end_flows_or_say().await;
            self.settle().await?;
            self.load_or_end().await?;
            return Ok(Ok(()));
        }
        if let Err(error) = self.load().await {
            self.told = before;
            return Ok(Err(error.to_string()));
        }
        say!("the settings have changed");
        (self.leased, self.advertised) = (UplinkLeaseState::Unknown, AdvertisementState::Unknown);
        self.settle().await?;
        let trouble = match self.trouble.clone() {
            None => self.end_flows().await.err(),
            trouble => trouble,
        };
        let Some(trouble) = trouble else { return Ok(Ok(())) };
        say!("{trouble}; all is as it was before");
        self.told = before;
        self.load_or_end().await?;
        (self.leased, self.advertised) = (UplinkLeaseState::Unknown, AdvertisementState::Unknown);
        self.settle().await?;
        Ok(Err(trouble))
    }

    /// Takes a report that `mac` has asked for an address at `device`.
    pub async fn plug(
        &mut self,
        device: &str,
        mac: &str,
    ) -> Result<Result<(), PlugError>, NetdError> {
        let Some(plan) = &self.told.router else { return Ok(Err(PlugError::NoRouter)) };
        let observed = self.observe().await?;
        let before = self.plugged.clone();
        match self.plugged.report(plan, &observed, device, mac) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(refused) => return Ok(Err(refused.into())),
        }
        if let Err(error) = self.load().await {
            self.plugged = before;
            return Ok(Err(error.into()));
        }
        say!("{mac} is at {device}");
        self.settle().await?;
        Ok(Ok(()))
    }

    /// Somebody has changed the kernel's rules.
    pub async fn rules_changed(&mut self, author: &Author) {
        if self.backend.is_own(author).await {
            return;
        }
        self.rules = None;
        if self.mend.is_some() {
            return;
        }
        let Author { pid, name } = author;
        say!("ALARM: {name} (process {pid}) has changed the rules; they are put right");
        self.shared.alarm(author).await;
        let now = Instant::now();
        self.mend = Some(self.mended.map_or(now, |last| now.max(last + RETRY_DELAY)));
    }

    async fn observe(&self) -> Result<Observed, NetdError> {
        self.backend.observe().await.map_err(NetdError::Kernel)
    }

    /// Has the kernel let what is to be let, and nothing else, in one transaction: of what it has already
    /// only what differs is touched.
    async fn load(&mut self) -> Result<(), BackendError> {
        let rules = self.told.rules(&self.node, self.number, &self.plugged);
        let before = self.rules.take();
        fault::at_step("the rules are loaded")?;
        if fault::is("bare") {
            return Ok(());
        }
        self.backend.load(&rules, before.as_ref()).await?;
        self.rules = Some(rules);
        Ok(())
    }

    /// The same where nothing can go on without it.
    async fn load_or_end(&mut self) -> Result<(), NetdError> {
        self.load().await.map_err(NetdError::Rules)
    }

    /// Ends the flows that no policy allows any more: rules are asked only when a flow begins.
    async fn end_flows(&self) -> Result<(), String> {
        let Some(plan) = &self.told.router else { return Ok(()) };
        let observed = self.backend.observe().await.map_err(|error| error.to_string())?;
        let own = observed.addresses.iter().map(|it| it.address).collect();
        let ended = fault::at_step("flows are listed")
            .map_err(BackendError::from)
            .and_then(|()| self.backend.end_flows(|flow| !still_lets(plan, flow, &own)));
        match ended {
            Ok(ended) => {
                if let [first, ..] = &ended[..] {
                    let count = ended.len();
                    say!("{count} flows ended that no policy allows any more, as {first}");
                }
                Ok(())
            }
            Err(error) => Err(format!("flows that no policy allows any more go on: {error}")),
        }
    }

    /// The same where there is nothing to go back to.
    async fn end_flows_or_say(&self) {
        if let Err(error) = self.end_flows().await {
            say!("{error}");
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Has the kernel be as the plan says.
    pub async fn settle(&mut self) -> Result<(), NetdError> {
        let mut observed = self.observe().await?;
        for _ in 0..MAX_ROUNDS {
            if self.plugged.forget(self.told.router.as_ref(), &observed) {
                self.load_or_end().await?;
            }
            let NetworkConfig { network, router, .. } = &self.told;
            let router = router.as_ref().map(|router| (router, &self.plugged));
            let plan = KernelPlan::new(
                network,
                router,
                (&self.leased, &self.advertised),
                &observed,
                self.now(),
            );
            let changes = plan.changes(&observed);
            if changes.is_empty() {
                self.trouble = None;
                break;
            }
            let mut failed = None;
            for change in &changes {
                // The rest may well work.
                if let Err(error) = self.apply(change).await {
                    failed = Some(format!("{change:?} is refused: {error}"));
                }
            }
            if let Some(trouble) = failed {
                if self.trouble.as_ref() != Some(&trouble) {
                    say!("{trouble}");
                }
                self.trouble = Some(trouble);
                break;
            }
            observed = self.observe().await?;
        }
        self.note(&observed).await;
        Ok(())
    }

    async fn apply(&self, change: &PlanStep) -> Result<(), String> {
        fault::at_step(&format!("{change:?}")).map_err(|error| error.to_string())?;
        self.backend.apply(change).await.map_err(|error| error.to_string())
    }

    /// Takes a report that a DHCP server has given this, or nothing any more, at the link of this name.
    pub async fn lease(
        &mut self,
        link: &str,
        reported: Option<reported::LinkLease>,
    ) -> Result<Result<(), lease::InvalidLease>, NetdError> {
        if !self.asks_at(link).await? {
            return Ok(Err(lease::InvalidLease::NotAsked(link.to_owned())));
        }
        let router = self.told.router.as_ref();
        let board = reported.as_ref().and_then(|lease| lease.board);
        let leased = match reported {
            None => UplinkLeaseState::Nothing,
            Some(lease) => match UplinkLease::check(&lease, router, self.now()) {
                Ok(lease) => UplinkLeaseState::Lease(lease),
                Err(refused) => return Ok(Err(refused)),
            },
        };
        self.leased = leased;
        self.settle().await?;
        // A router has no number, and whoever leads out of it does not give it one.
        if self.told.is_board && board.is_some() && board != self.board {
            self.board = board;
            if tell_number(board).await {
                self.number = board;
                // Who takes boards in has other rules.
                self.load_or_end().await?;
            }
        }
        Ok(Ok(()))
    }

    /// Takes a report that a router has advertised this, or that there is none any more, at the link of
    /// this name.
    pub async fn advert(
        &mut self,
        link: &str,
        reported: Option<reported::RouterAdvertised>,
    ) -> Result<Result<(), lease::InvalidLease>, NetdError> {
        if !self.asks_at(link).await? {
            return Ok(Err(lease::InvalidLease::NotAsked(link.to_owned())));
        }
        let router = self.told.router.as_ref();
        self.advertised = match reported {
            None => AdvertisementState::Nothing,
            Some(advert) => match AdvertisedAddress::check(&advert, router, self.now()) {
                Ok(advert) => AdvertisementState::Router(advert),
                Err(refused) => return Ok(Err(refused)),
            },
        };
        self.settle().await?;
        Ok(Ok(()))
    }

    /// Whether an address is asked for at the link of this name.
    async fn asks_at(&self, link: &str) -> Result<bool, NetdError> {
        let observed = self.observe().await?;
        let name = plan::uplink(&self.told.network, self.told.router.as_ref());
        let asked = observed.uplink(name).is_some_and(|it| it.name == link);
        Ok(asked && self.told.network.addressing == Addressing::Dhcp)
    }

    /// When there is something to do: a lease that ends, or rules to put right.
    pub fn due(&self) -> Option<Instant> {
        let end = match &self.leased {
            UplinkLeaseState::Lease(lease) => lease.until.map(|until| self.began + until),
            UplinkLeaseState::Unknown | UplinkLeaseState::Nothing => None,
        };
        let advert = match &self.advertised {
            AdvertisementState::Router(advert) => {
                advert.end(self.now()).map(|end| self.began + end)
            }
            AdvertisementState::Unknown | AdvertisementState::Nothing => None,
        };
        [end, advert, self.mend].into_iter().flatten().min()
    }

    pub async fn tick(&mut self) -> Result<(), NetdError> {
        if self.mend.is_some_and(|at| at <= Instant::now()) {
            self.mend = None;
            self.mended = Some(Instant::now());
            // Some may have been loaded since somebody else has changed them.
            self.rules = None;
            self.load_or_end().await?;
            self.end_flows_or_say().await;
            self.settle().await?;
        }
        let now = self.now();
        if let UplinkLeaseState::Lease(UplinkLease { address, until: Some(until), .. }) =
            &self.leased
            && *until <= now
        {
            say!("the time of {address} is over");
            self.leased = UplinkLeaseState::Nothing;
            self.settle().await?;
        }
        if let AdvertisementState::Router(advert) = std::mem::take(&mut self.advertised) {
            let left = advert.clone().at(now);
            let ended = left != advert;
            self.advertised = AdvertisementState::Router(left);
            if ended {
                self.settle().await?;
            }
        }
        Ok(())
    }

    async fn note(&self, observed: &Observed) {
        let lease = match &self.leased {
            UplinkLeaseState::Lease(lease) => Some(json!({
                "address": lease.address.to_string(),
                "server": lease.server,
                "seconds": lease.left(self.now()),
                "board": self.board,
            })),
            UplinkLeaseState::Unknown | UplinkLeaseState::Nothing => None,
        };
        self.shared.note(lease, &self.plugged, links(&self.told, observed)).await;
    }
}

/// A report that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    #[error("this node is no router of a box")]
    NoRouter,
    #[error(transparent)]
    Refused(#[from] InvalidReport),
    /// The kernel does not take it.
    #[error(transparent)]
    Rules(#[from] BackendError),
}

/// Tells PID 1 which board this is. Returns whether it takes that: if it knows better, that is told in its log.
async fn tell_number(board: Option<u8>) -> bool {
    let call = move || {
        let mut client = Client::connect(&Path::new(SOCKETS).join(format!("{INIT}.sock")))?;
        client.call("board", Map::from_iter([("number".to_owned(), json!(board))]))
    };
    match spawn_blocking(call).await {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => say!("{error}"),
        Err(error) => say!("PID 1 was not told the number: {error}"),
    }
    false
}

#[cfg(test)]
mod tests;
