//! The router as a TLS server on this machine, with faults on demand.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustls::crypto::ring::default_provider;
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use sha2::{Digest, Sha256};

use crate::certificate;
use crate::http::{LONGEST, Request, Response};
use crate::router::Router;

/// A fault of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the request is handled.
    DropBefore,
    /// The request is handled, and the connection ends without a response.
    DropAfter,
    /// The request is handled, and the connection is reset within the response.
    Reset,
    /// The request is handled, and the response is not JSON.
    WrongAnswer,
    /// The router pauses for half a minute, and then responds.
    Slow,
    /// All sessions have ended before the request.
    Expired,
    /// `rpcd` is killed before the request.
    RpcdKilled,
    /// The power is cut before the request.
    PowerCut,
    /// From here on no packet arrives, until [`Server::back`]. For the router that is the same as a
    /// crash of the client.
    GoneBefore,
    /// The same, but this request is handled.
    GoneAfter,
    /// From here on no request is handled, and connections stay open, until [`Server::back`]: the
    /// test can kill the client.
    HoldBefore,
    /// The same, but this request is handled.
    HoldAfter,
}

impl Fault {
    /// All faults that end by themselves.
    pub const ALL: [Self; 10] = [
        Self::DropBefore,
        Self::DropAfter,
        Self::Reset,
        Self::WrongAnswer,
        Self::Slow,
        Self::Expired,
        Self::RpcdKilled,
        Self::PowerCut,
        Self::GoneBefore,
        Self::GoneAfter,
    ];
}

/// The pause of a slow router.
const SLOW: Duration = Duration::from_secs(30);

/// A timeout that only ends a hang.
const HANG: Duration = Duration::from_secs(180);

/// A router that serves a port of this machine.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    certificate: Vec<u8>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ends: AtomicBool,
    tls: Arc<ServerConfig>,
}

#[derive(Debug)]
struct State {
    router: Router,
    requests: Vec<Request>,
    writing: usize,
    fault: Option<(usize, Fault)>,
    is_gone: bool,
}

/// What happens to a connection after a request.
enum Then {
    Answer(Response),
    /// Sends half of the response, and a reset.
    Half(Response),
    /// Sends nothing until the server is back.
    Hold,
    End,
}

impl Server {
    /// Starts the server.
    ///
    /// # Errors
    /// The port cannot be opened.
    pub fn start(router: Router) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), router)
    }

    /// Starts the server at this address.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start_at(address: SocketAddr, router: Router) -> io::Result<Self> {
        Self::with_versions(address, router, ALL_VERSIONS)
    }

    /// Starts a server that supports TLS 1.2 only, as in older releases.
    ///
    /// # Errors
    /// The port cannot be opened.
    pub fn start_old(router: Router) -> io::Result<Self> {
        Self::with_versions((Ipv4Addr::LOCALHOST, 0).into(), router, &[&TLS12])
    }

    fn with_versions(
        address: SocketAddr,
        router: Router,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (certificate, key) = certificate::make();
        let shown = certificate.to_vec();
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(io::Error::other)?;
        let state = State { router, requests: vec![], writing: 0, fault: None, is_gone: false };
        let ends = AtomicBool::new(false);
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { state, changed, ends, tls: Arc::new(tls) });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if served.ends.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&served);
                thread::spawn(move || shared.converse(stream));
            }
        });
        Ok(Self { address, certificate: shown, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The SHA-256 of its certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    /// The certificate (DER), which `uhttpd` has in `/etc/uhttpd.crt`.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Accesses the router directly.
    pub fn with<T>(&self, act: impl FnOnce(&mut Router) -> T) -> T {
        act(&mut self.shared.state().router)
    }

    /// Advances the router's clock by `by`.
    pub fn pass(&self, by: Duration) {
        self.with(|router| router.pass(by));
    }

    /// Resets the counts; `fault` happens to the request with that number, counted from 0.
    pub fn count(&self, fault: Option<(usize, Fault)>) {
        let mut state = self.shared.state();
        (state.fault, state.requests, state.writing) = (fault, vec![], 0);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// The number of requests that have changed a file, staged changes, or the pending change.
    pub fn writing(&self) -> usize {
        self.shared.state().writing
    }

    /// Ends the fault: requests are handled again.
    pub fn back(&self) {
        self.shared.state().is_gone = false;
        self.shared.changed.notify_all();
    }

    /// Waits until the fault has started.
    pub fn wait_until_gone(&self) {
        self.shared.wait(|state| !state.is_gone);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // The connection wakes the server, which then sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, until_not: impl FnMut(&mut State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.state(), HANG, until_not);
        let (_state, ended) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!ended.timed_out(), "nothing has happened for {HANG:?}");
    }

    fn converse(&self, stream: TcpStream) {
        let is_there = {
            let state = self.state();
            !state.is_gone && state.router.is_reached()
        };
        let Some(tls) =
            is_there.then(|| ServerConnection::new(Arc::clone(&self.tls)).ok()).flatten()
        else {
            return;
        };
        // A response has several TLS records, which must not wait for each other.
        let _ = stream.set_nodelay(true);
        let mut stream = StreamOwned::new(tls, stream);
        // The client belongs to the test, and ends the connection itself.
        while let Ok(Some(request)) = read(&mut stream) {
            let then = self.state().answer(request);
            match then {
                Then::Answer(response) => {
                    if stream.write_all(&text(&response)).and_then(|()| stream.flush()).is_err() {
                        return;
                    }
                }
                Then::Half(response) => {
                    let text = text(&response);
                    let _ = stream.write_all(&text[..text.len() / 2]);
                    let _ = stream.flush();
                    let _ = set_socket_linger(&stream.sock, Some(Duration::ZERO));
                    return;
                }
                Then::Hold => {
                    self.changed.notify_all();
                    self.wait(|state| state.is_gone);
                    return;
                }
                Then::End => return,
            }
        }
    }
}

impl State {
    fn answer(&mut self, request: Request) -> Then {
        if self.is_gone || !self.router.is_reached() {
            return Then::End;
        }
        let number = self.requests.len();
        self.requests.push(request.clone());
        let fault = self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        match fault {
            Some(Fault::DropBefore) => return Then::End,
            Some(fault @ (Fault::GoneBefore | Fault::HoldBefore)) => {
                self.is_gone = true;
                return if fault == Fault::HoldBefore { Then::Hold } else { Then::End };
            }
            Some(Fault::PowerCut) => {
                self.router.cut_power();
                return Then::End;
            }
            Some(Fault::Slow) => self.router.pass(SLOW),
            Some(Fault::Expired) => self.router.end_sessions(),
            Some(Fault::RpcdKilled) => self.router.kill_rpcd(),
            _ => {}
        }
        let before = self.router.written();
        let will_be_cut = self.router.is_cut_between;
        let response = self.router.handle(&request);
        self.writing += usize::from(self.router.written() != before);
        if will_be_cut && !self.router.is_cut_between {
            return Then::End;
        }
        let Some(response) = response else { return Then::End };
        match fault {
            Some(Fault::DropAfter) => Then::End,
            Some(fault @ (Fault::GoneAfter | Fault::HoldAfter)) => {
                self.is_gone = true;
                if fault == Fault::HoldAfter { Then::Hold } else { Then::End }
            }
            Some(Fault::Reset) => Then::Half(response),
            Some(Fault::WrongAnswer) => {
                let body = b"<h1>Bad Gateway</h1>".to_vec();
                Then::Answer(Response { status: 200, kind: Some("text/html"), body })
            }
            _ => Then::Answer(response),
        }
    }
}

/// The next request; `None` at the end of the connection.
fn read(stream: &mut impl Read) -> io::Result<Option<Request>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = vec![];
    let mut piece = [0; 16384];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head.parse(&bytes).map_err(io::Error::other)?;
        if let httparse::Status::Complete(begin) = parsed {
            let header = |name: &str| {
                let found = head.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
                found.and_then(|it| str::from_utf8(it.value).ok())
            };
            let length = header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0usize);
            if length > LONGEST {
                return Ok(None);
            }
            if bytes.len() >= begin + length {
                let bearer = header("authorization").and_then(|it| it.strip_prefix("Bearer "));
                return Ok(Some(Request {
                    method: head.method.unwrap_or_default().to_owned(),
                    path: head.path.unwrap_or_default().to_owned(),
                    bearer: bearer.map(str::to_owned),
                    body: bytes[begin..begin + length].to_vec(),
                }));
            }
        }
        match stream.read(&mut piece)? {
            0 if bytes.is_empty() => return Ok(None),
            0 => return Err(wrong("it ends in the middle")),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// A response in the router's format: chunked.
fn text(response: &Response) -> Vec<u8> {
    let reason = if response.status == 200 { "OK" } else { "Not Found" };
    let kind = response.kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
    let mut text = format!(
        "HTTP/1.1 {} {reason}\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=20\r\n{kind}\r\n",
        response.status
    )
    .into_bytes();
    for piece in response.body.chunks(4096) {
        text.extend(format!("{:x}\r\n", piece.len()).bytes());
        text.extend(piece);
        text.extend(b"\r\n");
    }
    text.extend(b"0\r\n\r\n");
    text
}
