//! Maintains the network as it is configured: rules first, then links and addresses.

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
use crate::config::{NetworkConfig, NodeFacts};
use crate::daemon::NetdError;
use crate::fault;
use crate::generation::Author;
use crate::lease::{self, UplinkLease};
use crate::links::links;
use crate::observed::Observed;
use crate::plan::{self, AdvertisementState, KernelPlan, PlanStep, UplinkLeaseState};
use crate::port_bindings::{InvalidReport, PortBindings};
use crate::router::flows::is_still_allowed;
use crate::rules::NodeTables;
use crate::serve::ServeState;

/// Rounds of observing and changing, after which netd logs that something does not stay as it was
/// set, and waits for the next event.
const MAX_ROUNDS: usize = 4;

/// Minimum time between two repairs of a ruleset that another process has changed: two processes
/// that undo each other's changes must not use all of the CPU.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The network and its desired state.
pub struct Network<B> {
    config: Arc<NetworkConfig>,
    node: Arc<NodeFacts>,
    backend: B,
    shared: Rc<ServeState<B>>,
    started: Instant,
    bindings: PortBindings,
    /// The ruleset that the backend has loaded; `None` if unknown.
    rules: Option<NodeTables>,
    leased: UplinkLeaseState,
    advertised: AdvertisementState,
    /// The board number from the last lease, which was reported to PID 1.
    board: Option<u8>,
    /// The node's number, according to PID 1.
    number: Option<u8>,
    /// The last error of a change, so that it is logged only once.
    trouble: Option<String>,
    /// When a ruleset that another process has changed is repaired next, or was last repaired.
    repair_at: Option<Instant>,
    repaired_at: Option<Instant>,
}

impl<B: Backend> Network<B> {
    /// Creates the network for the configuration `config`; [`begin`](Self::begin) applies it.
    pub fn new(
        config: Arc<NetworkConfig>,
        node: Arc<NodeFacts>,
        backend: B,
        shared: Rc<ServeState<B>>,
    ) -> Self {
        Self {
            config,
            number: node.number,
            node,
            backend,
            shared,
            started: Instant::now(),
            bindings: PortBindings::default(),
            rules: None,
            leased: UplinkLeaseState::Unknown,
            advertised: AdvertisementState::Unknown,
            board: None,
            trouble: None,
            repair_at: None,
            repaired_at: None,
        }
    }

    /// Loads the rules first: until they are in force no link is switched on.
    ///
    /// # Errors
    /// The rules cannot be loaded, or the kernel does not answer.
    pub async fn begin(&mut self) -> Result<(), NetdError> {
        // The unit `lan` receives router advertisements, and netd decides about them, not the
        // kernel.
        self.backend.prepare(self.config.router.is_some());
        if self.config.router.is_some() {
            // Bindings of the previous netd process stay valid if the link was not down since.
            self.bindings = self.backend.plugged().await;
            let observed = self.observe().await?;
            self.bindings.forget(self.config.router.as_ref(), &observed);
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

    /// Applies the configuration `config`. Rules come before addresses, as at the start. If the
    /// kernel refuses, everything is restored to the state before.
    pub async fn change(&mut self, config: NetworkConfig) -> Result<Result<(), String>, NetdError> {
        if config == *self.config {
            return Ok(Ok(()));
        }
        fault::begin();
        let before = std::mem::replace(&mut self.config, Arc::new(config));
        if fault::is("reversed") {
            self.end_flows_or_say().await;
            self.settle().await?;
            self.load_or_end().await?;
            self.shared.set_applied(Arc::clone(&self.config));
            return Ok(Ok(()));
        }
        if let Err(error) = self.load().await {
            self.config = before;
            return Ok(Err(error.to_string()));
        }
        say!("the settings have changed");
        (self.leased, self.advertised) = (UplinkLeaseState::Unknown, AdvertisementState::Unknown);
        self.settle().await?;
        let trouble = match self.trouble.clone() {
            None => self.end_flows().await.err(),
            trouble => trouble,
        };
        let Some(trouble) = trouble else {
            self.shared.set_applied(Arc::clone(&self.config));
            return Ok(Ok(()));
        };
        say!("{trouble}; the previous settings are restored");
        self.config = before;
        self.load_or_end().await?;
        (self.leased, self.advertised) = (UplinkLeaseState::Unknown, AdvertisementState::Unknown);
        self.settle().await?;
        Ok(Err(trouble))
    }

    /// Handles the report that `mac` has requested an address at `device`.
    pub async fn bind_port(
        &mut self,
        device: &str,
        mac: &str,
    ) -> Result<Result<(), PlugError>, NetdError> {
        let Some(plan) = &self.config.router else { return Ok(Err(PlugError::NoRouter)) };
        let observed = self.observe().await?;
        let before = self.bindings.clone();
        match self.bindings.report(plan, &observed, device, mac) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(refused) => return Ok(Err(refused.into())),
        }
        if let Err(error) = self.load().await {
            self.bindings = before;
            return Ok(Err(error.into()));
        }
        say!("{mac} is at {device}");
        self.settle().await?;
        Ok(Ok(()))
    }

    /// Handles a change of the kernel's ruleset by another process.
    pub async fn rules_changed(&mut self, author: &Author) {
        if self.backend.is_own(author).await {
            return;
        }
        self.rules = None;
        if self.repair_at.is_some() {
            return;
        }
        let Author { pid, name } = author;
        say!("ALARM: {name} (process {pid}) has changed the rules; they are restored");
        self.shared.alarm(author);
        let now = Instant::now();
        self.repair_at = Some(self.repaired_at.map_or(now, |last| now.max(last + RETRY_DELAY)));
    }

    async fn observe(&self) -> Result<Observed, NetdError> {
        self.backend.observe().await.map_err(NetdError::Kernel)
    }

    /// Replaces the ruleset atomically; only what differs from the loaded one is changed.
    async fn load(&mut self) -> Result<(), BackendError> {
        let rules = self.config.rules(&self.node, self.number, &self.bindings);
        let before = self.rules.take();
        fault::at_step("the rules are loaded")?;
        if fault::is("bare") {
            return Ok(());
        }
        self.backend.load(&rules, before.as_ref()).await?;
        self.rules = Some(rules);
        Ok(())
    }

    /// As `load`, where netd cannot continue without the rules.
    async fn load_or_end(&mut self) -> Result<(), NetdError> {
        self.load().await.map_err(NetdError::Rules)
    }

    /// Ends the flows that no policy allows any more: the rules are evaluated only when a flow
    /// begins.
    async fn end_flows(&self) -> Result<(), String> {
        let Some(plan) = &self.config.router else { return Ok(()) };
        let observed = self.backend.observe().await.map_err(|error| error.to_string())?;
        let own = observed.addresses.iter().map(|it| it.address).collect();
        let ended = fault::at_step("flows are listed")
            .map_err(BackendError::from)
            .and_then(|()| self.backend.end_flows(|flow| !is_still_allowed(plan, flow, &own)));
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

    /// As `end_flows`, where there is no previous state to restore: errors are logged.
    async fn end_flows_or_say(&self) {
        if let Err(error) = self.end_flows().await {
            say!("{error}");
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Changes the kernel's state until it matches the plan.
    pub async fn settle(&mut self) -> Result<(), NetdError> {
        let mut observed = self.observe().await?;
        for _ in 0..MAX_ROUNDS {
            if self.bindings.forget(self.config.router.as_ref(), &observed) {
                self.load_or_end().await?;
            }
            let NetworkConfig { network, router, .. } = &*self.config;
            let router = router.as_ref().map(|router| (router, &self.bindings));
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
                // The remaining steps may still succeed.
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
        self.note(&observed);
        Ok(())
    }

    async fn apply(&self, change: &PlanStep) -> Result<(), String> {
        fault::at_step(&format!("{change:?}")).map_err(|error| error.to_string())?;
        self.backend.apply(change).await.map_err(|error| error.to_string())
    }

    /// Handles the report of a DHCP lease, or of its end, on the link of this name.
    pub async fn lease(
        &mut self,
        link: &str,
        reported: Option<reported::LinkLease>,
    ) -> Result<Result<(), lease::InvalidLease>, NetdError> {
        if !self.uses_dhcp(link).await? {
            return Ok(Err(lease::InvalidLease::NotAsked(link.to_owned())));
        }
        let router = self.config.router.as_ref();
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
        // A router has no board number, and the DHCP server of its uplink cannot assign one.
        if self.config.is_board && board.is_some() && board != self.board {
            self.board = board;
            if report_number(board).await {
                self.number = board;
                // A coordinator accepts enrolment, so its ruleset differs.
                self.load_or_end().await?;
            }
        }
        Ok(Ok(()))
    }

    /// Handles the report of a router advertisement, or of its expiry, on the link of this name.
    pub async fn advert(
        &mut self,
        link: &str,
        reported: Option<reported::RouterAdvertised>,
    ) -> Result<Result<(), lease::InvalidLease>, NetdError> {
        if !self.uses_dhcp(link).await? {
            return Ok(Err(lease::InvalidLease::NotAsked(link.to_owned())));
        }
        let router = self.config.router.as_ref();
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

    /// Whether the link of this name uses DHCP.
    async fn uses_dhcp(&self, link: &str) -> Result<bool, NetdError> {
        let observed = self.observe().await?;
        let name = plan::uplink(&self.config.network, self.config.router.as_ref());
        let asked = observed.uplink(name).is_some_and(|it| it.name == link);
        Ok(asked && self.config.network.addressing == Addressing::Dhcp)
    }

    /// When the next timed work is due: the end of a lease, or a repair of the ruleset.
    pub fn due(&self) -> Option<Instant> {
        let end = match &self.leased {
            UplinkLeaseState::Lease(lease) => lease.until.map(|until| self.started + until),
            UplinkLeaseState::Unknown | UplinkLeaseState::Nothing => None,
        };
        let advert = match &self.advertised {
            AdvertisementState::Router(advert) => {
                advert.end(self.now()).map(|end| self.started + end)
            }
            AdvertisementState::Unknown | AdvertisementState::Nothing => None,
        };
        [end, advert, self.repair_at].into_iter().flatten().min()
    }

    pub async fn tick(&mut self) -> Result<(), NetdError> {
        if self.repair_at.is_some_and(|at| at <= Instant::now()) {
            self.repair_at = None;
            self.repaired_at = Some(Instant::now());
            // Another process may have changed the ruleset since the last load.
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
            say!("the lease of {address} has expired");
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

    fn note(&self, observed: &Observed) {
        let lease = match &self.leased {
            UplinkLeaseState::Lease(lease) => Some(json!({
                "address": lease.address.to_string(),
                "server": lease.server,
                "seconds": lease.remaining(self.now()),
                "board": self.board,
            })),
            UplinkLeaseState::Unknown | UplinkLeaseState::Nothing => None,
        };
        self.shared.note(lease, &self.bindings, links(&self.config, observed));
    }
}

/// A report that is rejected.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    #[error("this node is no router of a box")]
    NoRouter,
    #[error(transparent)]
    Refused(#[from] InvalidReport),
    /// The kernel refuses the rules.
    #[error(transparent)]
    Rules(#[from] BackendError),
}

/// Reports the board number to PID 1. Returns whether PID 1 accepts it; if it has another number
/// already, it logs that.
async fn report_number(board: Option<u8>) -> bool {
    let call = move || {
        let mut client = Client::connect(&Path::new(SOCKETS).join(format!("{INIT}.sock")))?;
        client.call("board", Map::from_iter([("number".to_owned(), json!(board))]))
    };
    match spawn_blocking(call).await {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => say!("{error}"),
        Err(error) => say!("cannot report the board number to PID 1: {error}"),
    }
    false
}

#[cfg(test)]
mod tests;
