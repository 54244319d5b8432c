//! From a TCP connection to an operator: the TLS handshake, the operator's key, and the connection
//! limit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use octet_node::control::operator::OperatorKey;
use octet_node::control::{Failure, FailureCode, PublicKey, Reply, ReplyBody};
use octet_node::hello::Hello;
use octet_node::limits::{Permit, Rate, RateDecision, RateLimiter};
use octet_node::say;
use octet_node::sub_key::Certified;
use octet_node::tls;
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::door::{ClientNetwork, MAX_ADDRESSES, to_go};
use crate::gate::{Gate, address, count};
use crate::session;
use octet_node::frames::{Broken, send};

/// The pause after the kernel could not accept a connection.
const RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(100);

/// The gate's identity: its key, and the certificate by its node.
#[derive(Clone)]
pub struct GateIdentity {
    tls: Arc<ServerConfig>,
    hello: Hello,
}

impl GateIdentity {
    /// Makes the identity of a certified key.
    ///
    /// # Errors
    /// TLS refuses the key.
    pub fn new(certified: &Certified) -> Result<Self, rustls::Error> {
        let tls = tls::server(&certified.key, tls::AlpnProtocol::Control)?;
        Ok(Self { tls, hello: Hello::new(certified.certificate.clone()) })
    }
}

pub struct OperatorListener {
    gate: Rc<Gate>,
    identity: RefCell<Option<GateIdentity>>,
    door: RefCell<RateLimiter<ClientNetwork>>,
    /// Connections during the handshake, in order of arrival.
    handshakes: RefCell<VecDeque<(ClientNetwork, AbortHandle)>>,
    start: Instant,
}

impl OperatorListener {
    pub fn new(gate: Rc<Gate>) -> Rc<Self> {
        let (identity, handshakes) = Default::default();
        let (burst, interval) = (gate.limits.burst, gate.limits.interval);
        let door = RateLimiter::new(Rate { burst, interval }, MAX_ADDRESSES).into();
        Rc::new(Self { gate, identity, door, handshakes, start: Instant::now() })
    }

    /// Replaces the identity for new connections.
    pub fn set_identity(&self, identity: GateIdentity) {
        *self.identity.borrow_mut() = Some(identity);
    }

    /// Accepts connections on `listener`, forever.
    pub async fn run(self: Rc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.accept(stream, peer),
                Err(error) => {
                    say!("cannot accept a connection: {error}");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    fn accept(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let origin = ClientNetwork::from(peer.ip());
        match self.door.borrow_mut().check(origin, self.start.elapsed()) {
            RateDecision::Allowed => {}
            answer => {
                count(&self.gate.counts.limited);
                if answer == RateDecision::LimitedFromNow {
                    say!("{}: connects too often, and is rejected for a while", address(peer));
                }
                return;
            }
        }
        let Some(identity) = self.identity.borrow().clone() else {
            say!("{}: rejected, the gate has no certificate yet", address(peer));
            return;
        };
        self.make_room();
        let entry = Rc::clone(self);
        let handle = spawn_local(async move { entry.handle(stream, peer, origin, identity).await });
        self.handshakes.borrow_mut().push_back((origin, handle.abort_handle()));
    }

    /// Makes room for another handshake.
    fn make_room(&self) {
        let mut handshakes = self.handshakes.borrow_mut();
        handshakes.retain(|(_, task)| !task.is_finished());
        while handshakes.len() >= self.gate.limits.handshakes {
            let origins: Vec<ClientNetwork> =
                handshakes.iter().map(|(origin, _)| *origin).collect();
            let Some((_, task)) = to_go(&origins).and_then(|index| handshakes.remove(index)) else {
                return;
            };
            count(&self.gate.counts.keyless);
            task.abort();
        }
    }

    /// Performs the handshake.
    async fn handle(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        origin: ClientNetwork,
        identity: GateIdentity,
    ) {
        let limit = self.gate.limits.handshake_time;
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.tls));
        let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
        let _ = stream.set_nodelay(true);
        let from = address(peer);
        let stream = match timeout(limit, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.keyless(&from, &error.to_string()),
            Err(_) => return self.keyless(&from, "it took too long"),
        };
        let Some(key) = tls::peer_key(stream.get_ref().1.peer_certificates()) else {
            return self.keyless(&from, "it is no ed25519 key");
        };
        self.handshake(stream, key, from, origin, &identity.hello).await;
    }

    fn keyless(&self, from: &str, problem: &str) {
        count(&self.gate.counts.keyless);
        say!("{from}: refused, it has shown no key: {problem}");
    }

    /// Sends the hello to the holder of `key`, and serves operators.
    async fn handshake(
        self: Rc<Self>,
        mut stream: TlsStream<TcpStream>,
        key: PublicKey,
        from: String,
        origin: ClientNetwork,
        hello: &Hello,
    ) {
        let gate = Rc::clone(&self.gate);
        let limit = gate.limits.handshake_time;
        if !matches!(timeout(limit, send(&mut stream, hello)).await, Ok(Ok(()))) {
            return;
        }
        let known = gate.operator(&key).ok_or_else(|| unknown_key(&key));
        let admitted = known.and_then(|known| {
            let place = admit(&gate, &known)?;
            Ok((known, place))
        });
        match admitted {
            Ok((operator, place)) => {
                self.door.borrow_mut().refund(origin);
                let task = spawn_local(run_session(
                    Rc::clone(&gate),
                    stream,
                    operator.clone(),
                    place,
                    from,
                ));
                let mut connected = gate.connected.borrow_mut();
                connected.retain(|(_, task)| !task.is_finished());
                connected.push((operator, task.abort_handle()));
            }
            Err(failure) => {
                count(&gate.counts.unknown_keys);
                say!("{key} from {from}: refused: {failure}");
                let reply = Reply { id: 0, body: ReplyBody::Error(failure) };
                let _ = timeout(limit, send(&mut stream, &reply)).await;
                let _ = timeout(limit, stream.shutdown()).await;
            }
        }
    }
}

/// Serves an operator, in a task that is not dropped to make room.
async fn run_session(
    gate: Rc<Gate>,
    stream: TlsStream<TcpStream>,
    operator: OperatorKey,
    place: Permit<PublicKey>,
    from: String,
) {
    let (name, key) = (operator.name.clone(), operator.key);
    let result = session::serve(gate, stream, operator, from.clone()).await;
    drop(place);
    if let Err(broken) = result
        && !matches!(broken, Broken::Io(_))
    {
        say!("{name} {key} from {from}: the connection ends: {broken}");
    }
}

/// A session permit for the operator.
fn admit(gate: &Gate, operator: &OperatorKey) -> Result<Permit<PublicKey>, Failure> {
    let place = gate.limits.sessions.admit(&gate.sessions, operator);
    place.ok_or_else(|| {
        Failure::new(
            FailureCode::Busy,
            "too many operators are connected, or this one too often",
            "end another connection, or try again later",
        )
    })
}

fn unknown_key(key: &PublicKey) -> Failure {
    Failure::new(
        FailureCode::Denied,
        format!("{key} is not an operator of this box"),
        "an owner adds it to `[operator] keys` in appliance.toml",
    )
}
