//! The service's start, and an endpoint for each certified key.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use octet_node::control::{PublicKey, SOCKETS, notify};
use octet_node::say;
use octet_node::sub_key::{self, Certified, KeyUpdate};
use octet_node::{Callers, UnitEnvironment, notify_ready};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use crate::alerts::Alerts;
use crate::boards::{MapBoards, RelayedCommands};
use crate::bot::{self, BotEvent};
use crate::mailbox::{Mailbox, MailboxLimits};
use crate::quic::{self, Served, ServerLimits};
use crate::verbs::{self, Storage};
use octet_messages::quic::{PORT, now};

/// The file of messages, in the service's data folder.
const FILE: &str = "letters";

/// The file of alert subscribers, in the same folder.
const ALERTS: &str = "alerts";

/// Why a node without a data folder accepts no messages.
pub const NO_DISK: &str = "this node has no disk to keep messages on";

/// The interval at which expired messages are deleted.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(3600);

/// The timeout of the bot's shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before binding a port is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The idle time after which a disk thread ends.
const LINGER: Duration = Duration::from_secs(5);

/// The configuration of this service.
#[derive(Debug)]
pub struct MessengerConfig {
    /// The data folder; without one no client is served.
    pub folder: Option<PathBuf>,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
    /// The local control socket.
    pub control: UnixListener,
    /// The users that may call this service.
    pub callers: Callers,
    pub addresses: Vec<SocketAddr>,
    /// The port of other boards' messengers.
    pub board_port: u16,
}

#[derive(Debug, Default)]
pub struct ServiceStatus {
    /// The mailbox's key, once it is certified.
    pub key: Option<PublicKey>,
    pub addresses: Vec<SocketAddr>,
    /// The boards that commands are relayed to.
    pub boards: MapBoards,
    /// Why no client is served, if so.
    pub error: Option<String>,
}

pub fn main() -> ExitCode {
    octet_node::run(|given| run(config(given)?, notify_ready))
}

fn config(mut environment: UnitEnvironment) -> io::Result<MessengerConfig> {
    Ok(MessengerConfig {
        folder: environment.state.take(),
        sockets: SOCKETS.into(),
        control: environment.socket("control")?,
        callers: environment.callers,
        addresses: vec![(Ipv4Addr::UNSPECIFIED, PORT).into(), (Ipv6Addr::UNSPECIFIED, PORT).into()],
        board_port: PORT,
    })
}

/// Serves until SIGTERM, and then closes its files. `ready` is called once the socket accepts
/// calls.
///
/// # Errors
/// It cannot start, or the thread that keeps its key has ended.
pub fn run(config: MessengerConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Two for the disk, and one for the gate.
        .max_blocking_threads(3)
        .thread_keep_alive(LINGER)
        .build()?;
    let ended = runtime.block_on(serve(config, ready));
    // Threads that wait for the closed mailbox never end.
    runtime.shutdown_background();
    ended
}

async fn serve(config: MessengerConfig, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut stop = signal(SignalKind::terminate())?;
    let status = Arc::new(Mutex::new(ServiceStatus::default()));
    let Some(folder) = config.folder else {
        // Accepted messages, and the key that people know, must outlive this process.
        say!("no messages are accepted: {NO_DISK}");
        status.lock().unwrap_or_else(PoisonError::into_inner).error = Some(NO_DISK.to_owned());
        verbs::listen(config.control, config.callers, None, status)?;
        ready()?;
        // `status` shows this text although the unit is ready.
        notify::send(&format!("STATUS={NO_DISK}"))?;
        stop.recv().await;
        return Ok(());
    };
    let nobody = PublicKey::new([0; 32]);
    let opened = Mailbox::open(&folder.join(FILE), nobody, MailboxLimits::default());
    let mailbox = Arc::new(Mutex::new(opened.map_err(io::Error::other)?));
    let boards = MapBoards::follow(&config.sockets, config.board_port)?;
    let alerts = Alerts::open(folder.join(ALERTS))?;
    let (bot, bot_ended) =
        bot::start(&folder, &config.sockets, Arc::clone(&mailbox), boards.clone(), alerts.clone())?;
    alerts.watch(&config.sockets, bot.clone())?;
    status.lock().unwrap_or_else(PoisonError::into_inner).boards = boards.clone();
    let relayed = Arc::new(RelayedCommands::new(boards, &config.sockets));
    let at_end = bot.clone();
    let known = Some(Storage { mailbox: Arc::clone(&mailbox), bot: bot.clone(), alerts });
    verbs::listen(config.control, config.callers, known, Arc::clone(&status))?;
    let (news, certified) = watch::channel(None);
    let (said, socket) = (Arc::clone(&status), config.sockets.join("identity.sock"));
    sub_key::keep(Some(folder), socket, move |told| match told {
        KeyUpdate::Certified(key) => {
            // Without the bot messages are still accepted; it has logged why it ended.
            let _ = bot.send(BotEvent::Key((*key).clone()));
            news.send_replace(Some(*key));
        }
        KeyUpdate::NotCertified(why) => {
            let why = format!("this service's key is not certified: {why}");
            say!("{why}");
            let mut status = said.lock().unwrap_or_else(PoisonError::into_inner);
            // The previous key stays in use.
            if status.key.is_none() {
                status.error = Some(why);
            }
        }
    })?;
    tokio::spawn(expire(Arc::clone(&mailbox)));
    ready()?;
    let served = Served { mailbox: Arc::clone(&mailbox), relayed };
    tokio::select! {
        () = run_endpoint(certified, config.addresses, served, status) => {
            Err(io::Error::other("the thread that keeps this service's key is gone"))
        }
        _ = stop.recv() => {
            close(&at_end, &bot_ended, &mailbox);
            Ok(())
        }
    }
}

/// Closes the files of the bot and of the mailbox cleanly, so that the next start need not scan
/// them.
fn close(bot: &SyncSender<BotEvent>, ended: &Receiver<()>, mailbox: &Mutex<Mailbox>) {
    // While the bot waits for a gate, its file stays open.
    let _ = bot.try_send(BotEvent::Stop);
    let _ = ended.recv_timeout(CLOSE_TIMEOUT);
    let mut mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = mailbox.close() {
        say!("the file of messages was not closed, and the next start checks all of it: {error}");
    }
    // No message is accepted any more.
    std::mem::forget(mailbox);
}

/// Deletes expired messages periodically.
async fn expire(mailbox: Arc<Mutex<Mailbox>>) {
    let mut beat = interval(EXPIRE_INTERVAL);
    loop {
        beat.tick().await;
        let mailbox = Arc::clone(&mailbox);
        let sweep = move || {
            let mut mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = mailbox.expire(now()) {
                say!("old messages are not deleted: {error}");
            }
        };
        let _ = tokio::task::spawn_blocking(sweep).await;
    }
}

/// Serves with the current key; a new key makes a new endpoint. It ends when no further key can
/// arrive.
async fn run_endpoint(
    mut certified: watch::Receiver<Option<Certified>>,
    at: Vec<SocketAddr>,
    served: Served,
    status: Arc<Mutex<ServiceStatus>>,
) {
    let stand = |own, at, trouble| {
        let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.key, status.addresses, status.error) = (own, at, trouble);
    };
    let mut problem = String::new();
    loop {
        let own = certified.borrow_and_update().clone();
        let Some(own) = own else {
            if certified.changed().await.is_err() {
                return;
            }
            continue;
        };
        let endpoint = match quic::open(own.key.seed(), &at).await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                // The same problem is logged once.
                let error = format!("nobody is served: {error}");
                if error != problem {
                    say!("{error}");
                    problem.clone_from(&error);
                }
                stand(None, vec![], Some(error));
                sleep(RETRY_DELAY).await;
                continue;
            }
        };
        problem.clear();
        let public = own.key.public();
        served.mailbox.lock().unwrap_or_else(PoisonError::into_inner).set_key(public);
        stand(Some(public), endpoint.bound_sockets(), None);
        say!("messages are accepted as {public}");
        let serving =
            tokio::spawn(quic::serve(endpoint.clone(), served.clone(), ServerLimits::default()));
        let is_other =
            |now: &Option<Certified>| now.as_ref().is_some_and(|own| own.key.public() != public);
        if certified.wait_for(is_other).await.is_err() {
            return;
        }
        stand(None, vec![], Some("the key is changed".to_owned()));
        endpoint.close().await;
        serving.abort();
    }
}
