//! The daemon: rules first, then links and addresses, for as long as the box runs.
//!
//! It keeps nothing: a netd that is started again looks at what the kernel has, loads the same rules
//! in one transaction, and changes what is not as it should be. What it has set stays when it ends.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use octet_appliance::{Addressing, LinkName, NetworkSettings, UNITS, Unit};
use octet_node::{Callers, SettingsError, notify_ready, section};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use serde_json::json;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::channel;
use tokio::time::{Instant, sleep_until};

use crate::dhcp::Answer;
use crate::dhcp::client::{Client, Outcome};
use crate::dhcp::socket::Socket;
use crate::kernel::Kernel;
use crate::nft::{self, NftError};
use crate::observed::{Link, Observed};
use crate::plan::{Leased, Plan};
use crate::rules::Inbound;
use crate::serve::{self, NewSettings, Shared};

/// Rounds of observing and changing after which it is told that something does not stay as it is
/// set, and waited for the next event.
const MOST_ROUNDS: usize = 4;

/// netd cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum NetdError {
    /// Its settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The list of units, which names the gate's ports.
    #[error("{UNITS}: {0}")]
    Units(io::Error),
    /// The rules do not stand; no link is switched on.
    #[error("nothing is let in or out: {0}")]
    Rules(#[from] NftError),
    /// The kernel's links.
    #[error("the kernel's links cannot be seen: {0}")]
    Kernel(#[from] rtnetlink::Error),
    /// What PID 1 passes, descriptors, threads.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs until SIGTERM, with what PID 1 has passed.
///
/// # Errors
/// The rules cannot be loaded, or the kernel does not answer. PID 1 starts netd again.
pub fn run(inherited: Vec<(String, OwnedFd)>) -> Result<(), NetdError> {
    let settings: NetworkSettings = section("network")?;
    let units = std::fs::read(UNITS).map_err(NetdError::Units)?;
    let units: Vec<Unit> = serde_json::from_slice(&units)
        .map_err(|error| NetdError::Units(io::Error::other(error)))?;
    let (_, socket) = inherited.into_iter().next().ok_or_else(|| {
        io::Error::other("PID 1 has passed no socket: unit.toml has to have `[sockets.control]`")
    })?;
    let listener = StdListener::from(socket);
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()?;
    runtime.block_on(serve(settings, &units, listener))
}

/// The rules for `settings`.
fn rules(units: &[Unit], settings: &NetworkSettings) -> String {
    Inbound::of(units, settings.addressing == Addressing::Dhcp).text()
}

async fn serve(
    settings: NetworkSettings,
    units: &[Unit],
    listener: StdListener,
) -> Result<(), NetdError> {
    let mut end = signal(SignalKind::terminate())?;
    nft::run(&rules(units, &settings)).await?;
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (connection, handle, mut events) = new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    let kernel = Kernel::new(handle);
    let (sender, mut new) = channel(1);
    let shared = Arc::new(Shared::new(Callers::from_environment(), kernel.clone(), sender));
    let mut network = Network::new(settings, kernel, Arc::clone(&shared));
    network.settle().await?;
    if let Err(error) = notify_ready() {
        eprintln!("cannot notify PID 1: {error}");
    }
    tokio::spawn(serve::serve(UnixListener::from_std(listener)?, shared));
    loop {
        let due = network.due();
        tokio::select! {
            _ = end.recv() => return Ok(()),
            Some(NewSettings { settings, done }) = new.recv() => {
                let lived_with = network.change(settings, units).await?;
                // Who asked may have gone.
                let _ = done.send(lived_with);
            }
            event = events.next() => {
                if event.is_none() {
                    return Err(NetdError::Io(io::Error::other("the kernel says no more")));
                }
                // Each change comes with many; what counts is what there is after all of them.
                while events.try_recv().is_ok() {}
                network.settle().await?;
            }
            answer = network.hear() => network.heard(answer).await?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                network.tick().await?;
            }
        }
    }
}

/// The network as it is kept.
struct Network {
    settings: NetworkSettings,
    kernel: Kernel,
    shared: Arc<Shared>,
    began: Instant,
    leased: Leased,
    asking: Option<Asking>,
    /// What could not be set last time, so that it is not told all the time.
    trouble: Option<String>,
}

/// A DHCP client at work on a link.
struct Asking {
    link: Link,
    client: Client,
    socket: Socket,
}

impl Network {
    fn new(settings: NetworkSettings, kernel: Kernel, shared: Arc<Shared>) -> Self {
        let (leased, asking, trouble) = (Leased::Unknown, None, None);
        Self { settings, kernel, shared, began: Instant::now(), leased, asking, trouble }
    }

    /// Has the network be as `settings` say. Rules come before addresses, as at the start.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); inside, in words: the kernel does not take it.
    async fn change(
        &mut self,
        settings: NetworkSettings,
        units: &[Unit],
    ) -> Result<Result<(), String>, NetdError> {
        if settings == self.settings {
            return Ok(Ok(()));
        }
        if let Err(error) = nft::run(&rules(units, &settings)).await {
            return Ok(Err(error.to_string()));
        }
        eprintln!("the settings have changed");
        self.settings = settings;
        (self.leased, self.asking) = (Leased::Unknown, None);
        self.settle().await?;
        Ok(self.trouble.clone().map_or(Ok(()), Err))
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Has the kernel be as the plan says.
    async fn settle(&mut self) -> Result<(), NetdError> {
        for _ in 0..MOST_ROUNDS {
            let observed = self.kernel.observe().await?;
            self.follow_uplink(&observed).await;
            let plan = Plan::new(&self.settings, &self.leased, &observed, self.now());
            let changes = plan.changes(&observed);
            if changes.is_empty() {
                self.trouble = None;
                break;
            }
            let mut failed = None;
            for change in &changes {
                // The rest may well work.
                if let Err(error) = self.kernel.apply(change).await {
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

    /// Has the DHCP client ask on the link that leads out, once it is up.
    async fn follow_uplink(&mut self, observed: &Observed) {
        if self.settings.addressing != Addressing::Dhcp {
            return;
        }
        let uplink = observed.uplink(self.settings.link.as_ref().map(LinkName::as_str));
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

    /// When the DHCP client wants to do something; nothing is sent over a link that is not there.
    fn due(&self) -> Option<Instant> {
        let asking = self.asking.as_ref().filter(|asking| asking.link.carrier)?;
        Some(self.began + asking.client.due()?)
    }

    /// The next answer of a server; without a client there is none.
    async fn hear(&self) -> io::Result<Answer> {
        match &self.asking {
            Some(asking) => asking.socket.receive().await,
            None => std::future::pending().await,
        }
    }

    async fn heard(&mut self, answer: io::Result<Answer>) -> Result<(), NetdError> {
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

    async fn tick(&mut self) -> Result<(), NetdError> {
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
        self.shared.note_dhcp(state).await;
    }
}

/// A number that nobody on the network can guess, so that nobody else can answer.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // The kernel has randomness long before there are links; without it the number is as good as
    // any: an answer has to be for this MAC address, too.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_be_bytes(bytes) ^ std::process::id()
}
