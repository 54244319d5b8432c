//! From a TCP connection to an identified board: its address, the TLS handshake, and the hello
//! messages.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use octet_node::control::FrameError;
use octet_node::frames::{Broken, FOR_EVER, Frames, send};
use octet_node::limits::{Rate, RateDecision, RateLimiter};
use octet_node::say;
use octet_node::sub_key::Certified;
use octet_node::tls::{self, AlpnProtocol};
use tokio::io::split;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::session::{CoordinatorSession, JoiningNode, SessionStream};
use super::{Coordinator, MAX_NUMBERS};
use crate::message::{CoordinatorHello, FromCoordinator, Join, LONGEST};

/// The guaranteed size of a join per number, in bytes: enough for a map of 32 boards with five
/// services each.
const OWN_PART: usize = 64 << 10;

/// The pause after the kernel could not accept a connection.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Accepts connections on `listener` forever, and keeps the map up to date with the settings and
/// `identity`.
pub async fn serve(coordinator: Rc<Coordinator>, listener: &TcpListener) {
    let limits = coordinator.node.limits;
    let rate = Rate { burst: limits.burst, interval: limits.interval };
    let (rate, start) = (RefCell::new(RateLimiter::new(rate, MAX_NUMBERS)), Instant::now());
    let (mut own, mut certificates) = (
        coordinator.node.identity.certified.clone(),
        coordinator.node.identity.certificates.clone(),
    );
    let mut settings = coordinator.node.settings.subscribe();
    let (mut handshakes, mut sessions) = (JoinSet::new(), JoinSet::new());
    let mut under_way = BTreeMap::<u8, AbortHandle>::new();
    let mut problem = String::new();
    loop {
        match coordinator.renew().await {
            Ok(()) => problem.clear(),
            // The same problem is logged once.
            Err(error) if error.to_string() == problem => {}
            Err(error) => {
                problem = error.to_string();
                say!("the map stays as it is: {problem}");
            }
        }
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(number) = coordinator.admit(peer, &rate, start.elapsed()) {
                            let task = handshakes.spawn_local(Rc::clone(&coordinator).accept(stream, number));
                            // A new connection replaces the earlier one of the same number.
                            if let Some(before) = under_way.insert(number, task) {
                                before.abort();
                            }
                        }
                    }
                    Err(error) => {
                        say!("cannot accept a connection: {error}");
                        sleep(RETRY_DELAY).await;
                    }
                },
                Some(greeted) = handshakes.join_next() => {
                    if let Ok(Some(joining)) = greeted {
                        sessions.spawn_local(CoordinatorSession::run(Rc::clone(&coordinator), joining));
                    }
                }
                Some(_) = sessions.join_next() => {}
                Ok(()) = own.changed() => break,
                Ok(()) = certificates.changed() => break,
                Ok(()) = settings.changed() => break,
            }
        }
    }
}

impl Coordinator {
    /// The number of the board that connects from `peer`, if it is allowed.
    fn admit(
        &self,
        peer: SocketAddr,
        rate: &RefCell<RateLimiter<u8>>,
        now: Duration,
    ) -> Option<u8> {
        let number = self.board_number(peer.ip())?;
        match rate.borrow_mut().check(number, now) {
            RateDecision::Allowed => Some(number),
            RateDecision::LimitedFromNow => {
                say!("board {number} connects too often, and is rejected for a while");
                None
            }
            RateDecision::Limited => None,
        }
    }

    /// Only boards may connect here, and netd blocks other addresses.
    fn board_number(&self, address: IpAddr) -> Option<u8> {
        let settings = self.node.settings.borrow();
        (self.node.addressing.number_of)(settings.cluster.as_ref()?, address)
    }

    /// Handles a connection from port `number`.
    async fn accept(self: Rc<Self>, stream: TcpStream, number: u8) -> Option<JoiningNode> {
        let limit = self.node.limits.handshake_timeout;
        let certified = self.node.identity.certified.borrow().clone()?;
        match timeout(limit, self.handshake(stream, number, &certified)).await {
            Ok(Ok(newcomer)) => return Some(newcomer),
            Ok(Err(problem)) => say!("board {number}: rejected: {problem}"),
            Err(_) => say!("board {number}: rejected: the handshake timed out"),
        }
        None
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        number: u8,
        certified: &Certified,
    ) -> Result<JoiningNode, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let config =
            tls::server(&certified.key, AlpnProtocol::Cluster).map_err(|error| text(&error))?;
        let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
        let _ = stream.set_nodelay(true);
        let accepted = TlsAcceptor::from(config).accept(stream).await;
        let mut stream: TlsStream<TcpStream> = accepted.map_err(|error| text(&error))?;
        let key = tls::peer_key(stream.get_ref().1.peer_certificates());
        let key = key.ok_or("its key is no ed25519 key")?;
        let hello = {
            let book = self.registry.borrow();
            let (version, statement) = (book.version, book.statement().copied());
            let (certificate, digest) = (certified.certificate.clone(), self.digest());
            CoordinatorHello { certificate, version, digest, statement }
        };
        send(&mut stream, &hello).await.map_err(|error| text(&error))?;
        let (from, mut to) = split(stream);
        let mut frames = Frames::new(from, OWN_PART);
        let mut payload = frames.next(FOR_EVER).await;
        // There is not enough memory for longer joins of all boards at once.
        let mut _place = None;
        if let Err(Broken::Frame(FrameError::TooLong(..))) = payload {
            _place = Some(self.node.long_joins.acquire().await.map_err(|error| text(&error))?);
            frames.set_limit(LONGEST);
            payload = frames.next(FOR_EVER).await;
        }
        let payload = payload.map_err(|error| text(&error))?.ok_or("it said nothing")?;
        let join = Join::parse(&payload).map_err(|error| text(&error))?;
        match join.node(key) {
            Ok((node, key_epoch)) => Ok(JoiningNode {
                stream: SessionStream { frames, writer: to },
                number,
                node,
                key_epoch,
                join,
            }),
            Err(error) => {
                let reason = error.to_string();
                let _ = send(&mut to, &FromCoordinator::Refused { reason: reason.clone() }).await;
                Err(reason)
            }
        }
    }
}
