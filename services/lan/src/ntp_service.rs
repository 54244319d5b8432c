//! Synchronises this node's clock by SNTP, and serves the time.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use octet_node::control::{CallError, Client};
use octet_node::say;
use serde_json::{Map, Value, json};
use tokio::net;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::timeout;

use crate::time::client::{self, NtpAction, NtpSample};
use crate::time::server::{TimeReference, answer, encode};

/// The NTP port (RFC 5905, 7.2).
const PORT: u16 = 123;

/// The timeout of an answer.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// The timeout of a call to the unit `clock`.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of a packet that is read, in bytes: extensions are not.
const LARGEST: usize = 128;

/// The size of the queue of received answers.
const WAITING: usize = 16;

/// An answer, and when it was received by the monotonic clock.
type Answered = (IpAddr, Vec<u8>, Instant);

#[derive(Debug)]
pub struct NtpService {
    clock: Arc<PathBuf>,
    began: Instant,
    client: client::NtpClient,
    answers: (Sender<Answered>, Receiver<Answered>),
    set_by: Rc<Cell<Option<TimeReference>>>,
    /// The last logged problem, so that it is logged once.
    last_error: Option<&'static str>,
    last: Option<NtpSample>,
}

impl NtpService {
    /// A client without servers; the socket of the unit `clock` is in the folder `sockets`.
    pub fn new(sockets: &Path) -> Self {
        Self {
            clock: Arc::new(sockets.join("clock.sock")),
            began: Instant::now(),
            client: client::NtpClient::default(),
            answers: channel(WAITING),
            set_by: Rc::default(),
            last_error: None,
            last: None,
        }
    }

    fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    /// Serves the time at `socket`, for ever.
    pub fn serve(&self, socket: UdpSocket) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let (socket, set_by) = (net::UdpSocket::from_std(socket)?, Rc::clone(&self.set_by));
        spawn_local(async move {
            let mut buffer = [0; LARGEST];
            loop {
                // The error belongs to an earlier answer, whose client is gone.
                let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
                if let Some(told) = answer(&buffer[..length], set_by.get(), wall_clock()) {
                    let _ = socket.send_to(&encode(told, wall_clock()), from).await;
                }
            }
        });
        Ok(())
    }

    /// Replaces the servers.
    pub fn set_servers(&mut self, servers: &[IpAddr]) {
        self.client.set_servers(servers, self.since(Instant::now()));
    }

    /// When the next action is due.
    pub fn due(&self) -> Option<Instant> {
        self.client.due().map(|due| self.began + due)
    }

    pub async fn answered(&mut self) -> Option<Answered> {
        self.answers.1.recv().await
    }

    pub fn receive(&mut self, (server, bytes, at): Answered) {
        self.client.receive(server, &bytes, self.since(at));
    }

    pub async fn tick(&mut self) {
        match self.client.tick(self.since(Instant::now())) {
            None => {}
            Some(NtpAction::Ask(servers)) => {
                for server in servers {
                    self.ask(server).await;
                }
            }
            Some(NtpAction::Offset(sample)) => self.apply_offset(sample).await,
            Some(NtpAction::Failed(why)) if self.last_error.replace(why) == Some(why) => {}
            Some(NtpAction::Failed(why)) => say!("{why}; the clock is not corrected"),
        }
    }

    async fn ask(&mut self, server: IpAddr) {
        let mut random = [0; 8];
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        let random = u64::from_ne_bytes(random);
        let Ok(socket) = connected(server).await else { return };
        let question = self.client.ask(server, random, self.since(Instant::now()), wall_clock());
        let Some(question) = question else { return };
        // A server without a route counts as one that does not answer.
        if socket.send(&question.bytes()).await.is_err() {
            return;
        }
        let sender = self.answers.0.clone();
        spawn_local(async move {
            let mut buffer = [0; LARGEST];
            if let Ok(Ok(length)) = timeout(TIMEOUT, socket.recv(&mut buffer)).await {
                let _ = sender.try_send((server, buffer[..length].to_vec(), Instant::now()));
            }
        });
    }

    async fn apply_offset(&mut self, sample: NtpSample) {
        (self.last_error, self.last) = (None, Some(sample));
        match report_offset(Arc::clone(&self.clock), sample).await {
            Ok(()) => {
                let NtpSample { stratum, .. } = sample;
                self.set_by.set(Some(TimeReference { stratum, at: wall_clock() }));
            }
            Err(error) => say!("`clock` rejects the measured offset: {error}"),
        }
    }

    /// The state for display.
    pub fn show(&self) -> Value {
        let last = self.last.map(
            |last| json!({ "by": last.server, "offset_ns": last.offset, "stratum": last.stratum }),
        );
        json!(last)
    }
}

async fn connected(server: IpAddr) -> io::Result<net::UdpSocket> {
    let any: SocketAddr = match server {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = net::UdpSocket::bind(any).await?;
    // A connected socket receives only that server's packets.
    socket.connect((server, PORT)).await?;
    Ok(socket)
}

async fn report_offset(clock: Arc<PathBuf>, sample: NtpSample) -> Result<(), CallError> {
    let call = move || {
        let mut client = Client::connect(&clock)?;
        client.stream().set_read_timeout(Some(CLOCK_TIMEOUT))?;
        let args = [
            ("nanoseconds".to_owned(), sample.offset.to_string().into()),
            ("by".to_owned(), sample.server.to_string().into()),
        ];
        client.call("off", Map::from_iter(args)).map(drop)
    };
    spawn_blocking(call).await.unwrap_or(Err(CallError::Closed))
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
