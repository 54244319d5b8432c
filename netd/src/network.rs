//! The network as it is kept: rules, then links and addresses, as what is told says.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use octet_appliance::Addressing;
use serde_json::json;
use tokio::time::Instant;

use crate::conntrack;
use crate::daemon::NetdError;
use crate::dhcp::Answer;
use crate::dhcp::client::{Client, Outcome};
use crate::dhcp::socket::Socket;
use crate::fault;
use crate::generation::Author;
use crate::kernel::Kernel;
use crate::nft::{self, NftError};
use crate::observed::{Link, Observed};
use crate::plan::{self, Change, Leased, Plan};
use crate::plugged::{Plugged, Refused};
use crate::router::firewall::There;
use crate::router::guard;
use crate::rules::Rules;
use crate::serve::Shared;
use crate::told::{Node, Told};

/// Rounds of observing and changing after which it is told that something does not stay as it is
/// set, and waited for the next event.
const MOST_ROUNDS: usize = 4;

/// Between two times that rules which somebody else has changed are put right: two who do so against
/// each other leave the processor to others.
const PAUSE: Duration = Duration::from_secs(1);

/// The network as it is kept.
pub struct Network {
    told: Told,
    node: Arc<Node>,
    kernel: Kernel,
    shared: Arc<Shared>,
    began: Instant,
    plugged: Plugged,
    /// The rules that the kernel has, unless that is not known.
    rules: Option<Rules>,
    leased: Leased,
    asking: Option<Asking>,
    /// What could not be set last time, so that it is not told all the time.
    trouble: Option<String>,
    /// When rules that somebody else has changed are put right; or were, last time.
    mend: Option<Instant>,
    mended: Option<Instant>,
}

/// A DHCP client at work on a link.
struct Asking {
    link: Link,
    client: Client,
    socket: Socket,
}

impl Network {
    /// As `told` says, once it is [`begin`](Self::begin)un.
    pub fn new(told: Told, node: Arc<Node>, kernel: Kernel, shared: Arc<Shared>) -> Self {
        Self {
            told,
            node,
            kernel,
            shared,
            began: Instant::now(),
            plugged: Plugged::default(),
            rules: None,
            leased: Leased::Unknown,
            asking: None,
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
        if self.told.router.is_some() {
            // Who was there when netd ended is there still, if his link was not down since.
            let listed = nft::json(&format!("list set netdev {} mac", guard::TABLE)).await;
            self.plugged = listed.map(|listed| Plugged::of_guard(&listed)).unwrap_or_default();
            let observed = self.kernel.observe().await?;
            self.plugged.forget(self.told.router.as_ref(), &observed);
        }
        if fault::is("reversed") {
            self.settle().await?;
            self.load().await?;
        } else {
            self.load().await?;
            self.settle().await?;
        }
        self.end_flows_or_say().await;
        Ok(())
    }

    /// Has the network be as `told` says. Rules come before addresses, as at the start. If the kernel
    /// does not take it, all of it is as it was before.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); inside, in words: the kernel does not take it.
    pub async fn change(&mut self, told: Told) -> Result<Result<(), String>, NetdError> {
        if told == self.told {
            return Ok(Ok(()));
        }
        fault::begin();
        let before = std::mem::replace(&mut self.told, told);
        if fault::is("reversed") {
            self.end_flows_or_say().await;
            self.settle().await?;
            self.load().await?;
            return Ok(Ok(()));
        }
        if let Err(error) = self.load().await {
            self.told = before;
            return Ok(Err(error.to_string()));
        }
        eprintln!("the settings have changed");
        (self.leased, self.asking) = (Leased::Unknown, None);
        self.settle().await?;
        let trouble = match self.trouble.clone() {
            None => self.end_flows().await.err(),
            trouble => trouble,
        };
        let Some(trouble) = trouble else { return Ok(Ok(())) };
        eprintln!("{trouble}; all is as it was before");
        self.told = before;
        self.load().await?;
        (self.leased, self.asking) = (Leased::Unknown, None);
        self.settle().await?;
        Ok(Err(trouble))
    }

    /// Takes a report that `mac` has asked for an address at `device`.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); inside: it cannot be so, or the kernel does not take it.
    pub async fn plug(
        &mut self,
        device: &str,
        mac: &str,
    ) -> Result<Result<(), PlugError>, NetdError> {
        let Some(plan) = &self.told.router else { return Ok(Err(PlugError::NoRouter)) };
        let observed = self.kernel.observe().await?;
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
        eprintln!("{mac} is at {device}");
        self.settle().await?;
        Ok(Ok(()))
    }

    /// Somebody has changed the kernel's rules.
    pub async fn rules_changed(&mut self, author: &Author) {
        if nft::is_own(author).await {
            return;
        }
        self.rules = None;
        if self.mend.is_some() {
            return;
        }
        let Author { pid, name } = author;
        eprintln!("ALARM: {name} (process {pid}) has changed the rules; they are put right");
        self.shared.alarm(author).await;
        let now = Instant::now();
        self.mend = Some(self.mended.map_or(now, |last| now.max(last + PAUSE)));
    }

    /// Has the kernel let what is to be let, and nothing else, in one transaction: of what it has already
    /// only what differs is touched.
    async fn load(&mut self) -> Result<(), NftError> {
        let rules = self.told.rules(&self.node, &self.plugged);
        let change = self.rules.take().and_then(|before| rules.change(&before));
        fault::at_step("the rules are loaded")?;
        if fault::is("bare") {
            return Ok(());
        }
        match change {
            Some(change) if change.is_empty() => {}
            Some(change) => match nft::load(&change).await {
                Err(NftError::Refused(said)) => {
                    eprintln!("nft refused what differs, so all rules are loaded: {said}");
                    self.load_whole(&rules).await?;
                }
                loaded => loaded?,
            },
            None => self.load_whole(&rules).await?,
        }
        self.rules = Some(rules);
        Ok(())
    }

    async fn load_whole(&self, rules: &Rules) -> Result<(), NftError> {
        nft::load(&rules.whole(&There::observe().await)).await
    }

    /// Ends the flows that no line lets any more: rules are asked only when a flow begins.
    ///
    /// # Errors
    /// In words: the kernel refuses, and some go on.
    async fn end_flows(&self) -> Result<(), String> {
        let Some(plan) = &self.told.router else { return Ok(()) };
        let observed = self.kernel.observe().await.map_err(|error| error.to_string())?;
        let own = observed.addresses.iter().map(|it| it.address).collect();
        let ended = fault::at_step("flows are listed")
            .and_then(|()| conntrack::end(|flow| !plan.still_lets(flow, &own)));
        match ended {
            Ok(0) => Ok(()),
            Ok(count) => {
                eprintln!("{count} flows ended that no line lets any more");
                Ok(())
            }
            Err(error) => Err(format!("flows that no line lets any more go on: {error}")),
        }
    }

    /// The same where there is nothing to go back to.
    async fn end_flows_or_say(&self) {
        if let Err(error) = self.end_flows().await {
            eprintln!("{error}");
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Has the kernel be as the plan says.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn settle(&mut self) -> Result<(), NetdError> {
        for _ in 0..MOST_ROUNDS {
            let observed = self.kernel.observe().await?;
            if self.plugged.forget(self.told.router.as_ref(), &observed) {
                self.load().await?;
            }
            self.follow_uplink(&observed).await;
            let Told { network, router } = &self.told;
            let router = router.as_ref().map(|router| (router, &self.plugged));
            let plan = Plan::new(network, router, &self.leased, &observed, self.now());
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
                    eprintln!("{trouble}");
                }
                self.trouble = Some(trouble);
                break;
            }
        }
        self.note().await;
        Ok(())
    }

    async fn apply(&self, change: &Change) -> Result<(), String> {
        fault::at_step(&format!("{change:?}")).map_err(|error| error.to_string())?;
        self.kernel.apply(change).await.map_err(|error| error.to_string())
    }

    /// Has the DHCP client ask on the link that leads out, once it is up.
    async fn follow_uplink(&mut self, observed: &Observed) {
        if self.told.network.addressing != Addressing::Dhcp {
            return;
        }
        let name = plan::uplink(&self.told.network, self.told.router.as_ref());
        let uplink = observed.uplink(name);
        let Some((link, mac)) = uplink.and_then(|link| Some((link, link.mac()?))) else {
            if self.asking.take().is_some() {
                self.leased = Leased::Nothing;
            }
            return;
        };
        let now = self.now();
        if let Some(asking) = &mut self.asking
            && (asking.link.index, asking.link.mac()) == (link.index, link.mac())
        {
            if link.carrier && !asking.link.carrier {
                asking.client.link_is_back(now);
            }
            asking.link = link.clone();
            return;
        }
        let had =
            observed.addresses.iter().find(|it| it.link == link.index && it.seconds.is_some());
        let wish = had.and_then(|address| match address.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        match Socket::open(&link.name) {
            Ok(socket) => {
                let client = Client::new(mac, wish, now);
                self.asking = Some(Asking { link: link.clone(), client, socket });
            }
            Err(error) => eprintln!("DHCP on {}: {error}", link.name),
        }
    }

    /// When there is something to do: the DHCP client's next word (nothing is sent over a link that is
    /// not there), or rules to put right.
    pub fn due(&self) -> Option<Instant> {
        let asking = self.asking.as_ref().filter(|asking| asking.link.carrier);
        let asking = asking.and_then(|asking| asking.client.due()).map(|due| self.began + due);
        asking.into_iter().chain(self.mend).min()
    }

    /// The next answer of a server; without a client there is none.
    ///
    /// # Errors
    /// The link is gone.
    pub async fn hear(&self) -> io::Result<Answer> {
        match &self.asking {
            Some(asking) => asking.socket.receive().await,
            None => std::future::pending().await,
        }
    }

    /// Has the DHCP client take what was heard.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub async fn heard(&mut self, answer: io::Result<Answer>) -> Result<(), NetdError> {
        let now = self.now();
        match answer {
            Ok(answer) => {
                let outcome =
                    self.asking.as_mut().map(|asking| asking.client.received(now, answer));
                self.carry_out(outcome.unwrap_or_default()).await
            }
            Err(error) => {
                // With its link the socket is gone; the next look at the links opens another.
                eprintln!("DHCP: {error}");
                self.asking = None;
                self.settle().await
            }
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// As [`settle`](Self::settle), or the rules cannot be put right.
    pub async fn tick(&mut self) -> Result<(), NetdError> {
        if self.mend.is_some_and(|at| at <= Instant::now()) {
            self.mend = None;
            self.mended = Some(Instant::now());
            // Some may have been loaded since somebody else has changed them.
            self.rules = None;
            self.load().await?;
            self.end_flows_or_say().await;
            self.settle().await?;
        }
        let (now, random) = (self.now(), random());
        let outcome = self.asking.as_mut().map(|asking| asking.client.tick(now, random));
        self.carry_out(outcome.unwrap_or_default()).await
    }

    async fn carry_out(&mut self, outcome: Outcome) -> Result<(), NetdError> {
        if let Some(text) = outcome.say {
            eprintln!("{text}");
        }
        if let (Some(message), Some(asking)) = (outcome.send, &self.asking)
            && let Err(error) = asking.socket.send(&message).await
        {
            eprintln!("DHCP on {}: {error}", asking.link.name);
        }
        if let Some(leased) = outcome.leased {
            self.leased = leased;
            return self.settle().await;
        }
        self.note().await;
        Ok(())
    }

    async fn note(&self) {
        let now = self.now();
        let state = self.asking.as_ref().map(|asking| {
            let lease = asking.client.lease();
            json!({
                "link": asking.link.name,
                "state": asking.client.state(),
                "address": lease.map(|lease| lease.address.to_string()),
                "server": lease.map(|lease| lease.server),
                "seconds": lease.and_then(|lease| lease.left(now)),
            })
        });
        self.shared.note(state, &self.plugged).await;
    }
}

/// A report that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    /// There are no ports.
    #[error("this node is no router of a box")]
    NoRouter,
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The kernel does not take it.
    #[error(transparent)]
    Rules(#[from] NftError),
}

/// A number that nobody on the network can guess, so that nobody else can answer.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // The kernel has randomness long before there are links; without it the number is as good as
    // any: an answer has to be for this MAC address, too.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_be_bytes(bytes) ^ std::process::id()
}
